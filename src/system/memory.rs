//! How the process keeps memory that it has done with. musl's allocator gives large pieces back to the kernel at
//! once; glibc's has to be asked for that.

/// Pieces from this size on are the kernel's own mappings, so that they are gone when they are freed.
#[cfg(target_env = "gnu")]
const MAPPED_BYTES: i32 = 256 << 10;
/// Free memory at the end of the heap that is kept.
#[cfg(target_env = "gnu")]
const KEPT_BYTES: i32 = 4 << 20;

/// Has memory given back when large pieces of it are freed: what one report of a million counters took is not
/// to be kept, once for each thread, until the next. glibc would, as it takes a size that was freed once for one
/// that is wanted again. No other thread may be there yet.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "glibc's settings have no safe interface")]
pub fn give_back() {
    use nix::libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, mallopt};
    for (setting, value) in
        [(M_MMAP_THRESHOLD, MAPPED_BYTES), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_ARENA_MAX, 1)]
    {
        // SAFETY: it takes two numbers and touches the allocator's own settings, while there is one thread. What
        // it does not know it refuses.
        unsafe { mallopt(setting, value) };
    }
}

/// Has memory given back when large pieces of it are freed, as the allocator does anyway.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}
