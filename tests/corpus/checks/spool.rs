//! Files of the spool, which anyone may have made: the input is a file as it comes, or a payload around which the
//! rest is made right. What is accepted is an increment that is done as a whole, is written and read again as
//! what it was, and counts once however often its file is found.

use std::time::Duration;

use countd::codec::Malformed;
use countd::protocol::Request;
use countd::protocol::spooled::{
    FILE_BYTES_MAX, from_bytes, is_slot, is_temporary, slot_name, temporary_name, to_bytes,
};
use countd::record::image::Image;
use countd::record::replay::Replay;
use countd::record::state::State;
use countd::turn::{Core, OWED_BYTES_MAX, Outcome, Rules, Spooled};
use countd::window::Moment;

use super::facts::Facts;
use super::input::Input;
use super::memory;

const NOW: Moment = Moment { wall_ms: 1_700_000_000_000, boot_ns: 100_000_000_000 };
/// A request's lists, and a message of what is wrong.
const MEMORY_MAX: usize = 128 << 10;

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let file = if input.flag() { sealed(input.rest()) } else { input.rest().to_vec() };
    names(&file);
    let (read, most) = memory::most(|| from_bytes(&file));
    assert!(most <= MEMORY_MAX, "{most} bytes for a file of {}", file.len());
    let (session, payload) = match read {
        Ok(read) => read,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(file.len() <= FILE_BYTES_MAX);
    let request = Request::from_payload(payload).expect("it was read before");
    let Request::Incr { id, atomic: true, .. } = &request else { unreachable!("{request:?}") };
    assert_eq!(id.session, session);
    let again = to_bytes(&request).expect("it came in such a file");
    assert!(again.len() <= file.len());
    let (its_session, its_payload) = from_bytes(&again).expect("what is written can be read");
    assert_eq!(its_session, session);
    assert_eq!(Request::from_payload(its_payload).as_ref(), Ok(&request));
    for at in [0, file.len() / 2, file.len() - 1] {
        let mut damaged = file.clone();
        damaged[at] ^= 1;
        assert!(from_bytes(&damaged).is_err(), "a bit at {at} is flipped");
    }
    counts_once(session, payload);
}

/// The file of a payload, as far as it says what it is.
fn sealed(payload: &[u8]) -> Vec<u8> {
    let mut file = b"countdsp\x01\0\0\0".to_vec();
    file.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&file);
    crc.update(payload);
    file.extend_from_slice(&crc.finalize().to_le_bytes());
    file.extend_from_slice(payload);
    file
}

fn names(file: &[u8]) {
    let number = file.iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31) ^ u32::from(*byte));
    assert!(is_slot(&slot_name(number)) && !is_temporary(&slot_name(number)));
    let temporary = temporary_name(u128::from(number) << 64 | u128::from(number));
    assert!(is_temporary(&temporary) && !is_slot(&temporary));
    let text = String::from_utf8_lossy(file);
    assert!(!(is_slot(&text) && is_temporary(&text)));
    if is_slot(&text) {
        let digits = text.trim_start_matches('r');
        assert_eq!(digits.parse().map(slot_name).as_deref(), Ok(&*text));
    }
}

/// Found twice, and again after a restart from a checkpoint, then not any more: it counts at most once, and what
/// was appended says the same.
fn counts_once(session: u128, payload: &[u8]) {
    let mut replay = Replay::new(7);
    let mut append = |records: &[u8]| {
        replay.block(records, NOW.wall_ms).expect("what is appended can be replayed");
    };
    let mut core = started(State::new(7, 1, NOW), &mut append);
    let file = Spooled { session, uid: 7, payload };
    append(core.count_spooled(NOW, std::iter::once(file), true));
    let first = core.spooled_counted(Ok(()));
    let counted = Facts::of(&core.image());

    let mut checkpoint = Replay::new(7);
    let read = core.image().blocks(|block| {
        checkpoint.block(block, NOW.wall_ms).expect("an image can be replayed");
        Ok::<(), Malformed>(())
    });
    read.expect("an image can be written");
    core = started(checkpoint.finish(), &mut append);
    append(core.count_spooled(NOW, [file, file].into_iter(), true));
    let second = core.spooled_counted(Ok(()));
    match first.as_slice() {
        [Outcome::Counted] => assert_eq!(second, [Outcome::Counted, Outcome::Counted]),
        [Outcome::Refused(why)] => assert!(!why.is_empty() && core.counters() == 0),
        other => unreachable!("{other:?}"),
    }
    assert_eq!(Facts::of(&core.image()), counted);

    append(core.count_spooled(NOW, std::iter::empty(), true));
    assert_eq!(core.spooled_counted(Ok(())), []);
    Facts::of(&Image::of(&replay.finish())).must_be(&Facts::of(&core.image()));
}

fn started(state: State, append: &mut impl FnMut(&[u8])) -> Core {
    let rules = Rules {
        counters_max: 1 << 16,
        counters_per_user_max: 1 << 16,
        owner: 1_000,
        interval: Duration::from_secs(5),
        aligned: None,
        with_idle: false,
        owed_bytes_max: OWED_BYTES_MAX,
    };
    let (core, records, _) = Core::start(state, rules, &[], 1, NOW);
    append(&records);
    core
}
