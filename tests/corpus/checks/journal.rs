//! The files of a state folder: the input is a folder (see [`folder`]), which the real journal opens on a disk in
//! memory. It is refused and left as it was, or a daemon goes on with it: counts, folds it, flushes, and finds
//! after each kill the counters it had. Memory is bounded by what the files hold.

use std::sync::Arc;
use std::time::Duration;

use countd::format::ReportFormat;
use countd::frame::HEADER_BYTES;
use countd::ids::RequestId;
use countd::journal::{Fresh, Journal, OpenError, Opened};
use countd::protocol::{Entry, Request, Wanted};
use countd::record::image::Image;
use countd::record::state::State;
use countd::turn::{Core, OWED_BYTES_MAX, Peer, Rules, SNAPSHOTS_MAX, SinkPlace};
use countd::window::Moment;

use super::disk::MemoryDisk;
use super::facts::Facts;
use super::folder;
use super::input::Input;
use super::memory;

const NOW: Moment = Moment { wall_ms: 1_700_000_100_000, boot_ns: 200_000_000_000 };
const BOOT: u128 = 5;
const OWNER: u32 = 1_000;
/// What is read at a time, a state with little in it, and what the codec takes for one record before it looks
/// whether the record is there.
const MEMORY_BEFORE: usize = (1 << 20) + memory::VALUE_CLAIM_MAX;
/// Bytes for each of the files': a counter of a few bytes is in a table and two maps.
const MEMORY_PER_BYTE: usize = 128;
/// A window that is closed with idle counters lists each of them: its record is at least this long, and so is
/// that of a counter.
const RECORD_BYTES_MIN: usize = 6;
const COUNT_BYTES: usize = 32;

pub(crate) fn check(bytes: &[u8]) {
    let files = folder::files(&mut Input::new(bytes));
    let length: usize = files.values().map(Vec::len).sum();
    let disk = MemoryDisk::of(files);
    let before = disk.files();
    let (opened, most) = memory::most(|| open(&disk));
    let listed = length / RECORD_BYTES_MIN / 2;
    let allowed = MEMORY_BEFORE + length * MEMORY_PER_BYTE + listed * listed * COUNT_BYTES;
    assert!(most <= allowed, "{most} bytes for {length} of files");
    match opened {
        Ok(opened) => go_on(&disk, opened),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(disk.files(), before, "{error}");
        }
    }
}

fn open(disk: &MemoryDisk) -> Result<Opened, OpenError> {
    let fresh = Fresh { state_id: 7, boot: BOOT, now: NOW };
    Journal::open(Arc::new(disk.clone()), fresh)
}

/// What a daemon that is killed now finds when it starts again.
fn found_after_kill(disk: &MemoryDisk) -> Facts {
    let opened = open(&MemoryDisk::of(disk.files())).expect("what is written can be read");
    facts(&opened.state)
}

fn facts(state: &State) -> Facts {
    Facts::of(&Image::of(state))
}

fn go_on(disk: &MemoryDisk, opened: Opened) {
    let Opened { mut journal, state, .. } = opened;
    found_after_kill(disk).must_be(&facts(&state));
    let rules = Rules {
        counters_max: 1 << 16,
        counters_per_user_max: 1 << 16,
        owner: OWNER,
        interval: Duration::from_secs(5),
        aligned: None,
        with_idle: false,
        owed_bytes_max: OWED_BYTES_MAX,
    };
    let sinks = [SinkPlace::new("stdout", ReportFormat::Plain)];
    let (mut core, records, _) = Core::start(state, rules, &sinks, BOOT, NOW);
    append(&mut journal, &records);
    found_after_kill(disk).must_be(&Facts::of(&core.image()));

    // What is deleted now is reported by the flush behind the fold.
    turn(&mut core, &mut journal, false);
    found_after_kill(disk).must_be(&Facts::of(&core.image()));

    let image = core.image();
    let folding = journal.rotate(image, NOW.wall_ms).expect("a disk in memory takes it");
    found_after_kill(disk).must_be(&Facts::of(&core.image()));
    journal.checkpointed(&folding.run().expect("a disk in memory takes it"));
    found_after_kill(disk).must_be(&Facts::of(&core.image()));

    turn(&mut core, &mut journal, true);
    found_after_kill(disk).must_be(&Facts::of(&core.image()));
}

fn append(journal: &mut Journal, records: &[u8]) {
    journal.append(records, NOW.wall_ms).expect("a disk in memory takes it");
}

/// Counts, forgets, and perhaps flushes.
fn turn(core: &mut Core, journal: &mut Journal, flush: bool) {
    let session = (1 << 100) + u128::from(flush);
    let id = RequestId { session, seq: 0, born_ns: NOW.boot_ns };
    let entries = [("a", 1), ("fuzz.new", 2)].map(|(name, amount)| Entry { name, amount });
    let incr = Request::Incr { id, atomic: false, totals: true, entries: entries.to_vec() };
    let wanted = Wanted { patterns: vec!["b*"], tags: Vec::new() };
    let delete = Request::Delete { wanted, dry_run: false };
    let requests = [incr, delete, Request::Dump { wanted: Wanted::default() }].map(|request| {
        let mut frame = Vec::new();
        request.write(&mut frame).expect("a short request fits");
        frame.split_off(HEADER_BYTES)
    });
    let peer = Peer { connection: 1, uid: OWNER };
    let asked = requests.iter().map(|payload| (peer, payload.as_slice()));
    let records = core.step(NOW, SNAPSHOTS_MAX, asked).to_vec();
    append(journal, &records);
    assert_eq!(core.committed(Ok(())).len(), requests.len());
    if flush {
        core.flush_soon();
    }
    let records = core.advance(NOW, std::iter::empty()).to_vec();
    append(journal, &records);
    let _ = core.advanced(Ok(()));
}
