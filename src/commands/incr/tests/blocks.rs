//! Lines that are counted in groups, out of any blocks, are counted as one by one.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::*;
use crate::client::lines::LINE_BYTES_MAX;
use crate::counter::name::Name;
use crate::counter::text::parse_line;

/// What each counter gets, how many lines count, and the numbers of those that are refused.
type Counted = (Vec<(String, u64)>, u64, Vec<usize>);

/// Takes the lines one by one, as they are said to be taken.
fn one_by_one(input: &[u8], tags: &[(&str, &str)]) -> Counted {
    let (mut sums, mut lines, mut refused) = (BTreeMap::new(), 0, Vec::new());
    for (line, number) in input.split(|byte| *byte == b'\n').zip(1..) {
        let text = std::str::from_utf8(line).ok().filter(|_| line.len() <= LINE_BYTES_MAX);
        let Some(Ok(parsed)) = text.map(parse_line) else {
            refused.push(number);
            continue;
        };
        let Some(parsed) = parsed else { continue };
        let name = tags.iter().try_fold(Name::new(&parsed.name).unwrap(), |name, (key, value)| {
            name.with_tag(key, value)
        });
        let Ok(name) = name else {
            refused.push(number);
            continue;
        };
        *sums.entry(String::from(name)).or_insert(0) += parsed.amount;
        lines += 1;
    }
    (sums.into_iter().collect(), lines, refused)
}

/// Has `countd incr --stdin` read blocks, each by itself, and compares what comes of them.
fn check(blocks: Vec<Vec<u8>>, tags: &[(&str, &str)]) {
    let (wanted, lines, refused) = one_by_one(&blocks.concat(), tags);
    let (tell, told) = std::sync::mpsc::channel();
    let fake = Fake::serve(vec![adds_up(tell)]);
    let socket = SocketPath::new(fake.path()).unwrap();
    let stream = Stream::connect(socket, Duration::from_secs(20), None).unwrap();
    let kind = SocketType::SEQPACKET;
    let (end, input) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
    let writing = std::thread::spawn(move || {
        for block in blocks {
            assert_eq!(rustix::io::write(&end, &block).unwrap(), block.len());
        }
    });
    let mut err = Vec::new();
    let status = stdin::count(input.as_fd(), stream, tags, &mut err, true).unwrap();
    writing.join().unwrap();
    fake.done();
    assert_eq!(told.recv().unwrap(), wanted);
    let err = String::from_utf8(err).unwrap();
    let mut said = err.lines();
    for number in refused.iter().take(10) {
        let line = said.next().unwrap();
        assert!(line.starts_with(&format!("countd: line {number}: ")), "{line}");
    }
    let plural = if lines == 1 { "" } else { "s" };
    let last = format!("countd: {lines} line{plural} counted, {} refused", refused.len());
    assert_eq!((said.next(), said.next()), (Some(last.as_str()), None));
    assert_eq!(status, u8::from(!refused.is_empty()));
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let names = vec![
        "a",
        "b",
        "abcdefgh",
        "http.requests.1",
        "http.requests.12",
        "http.requests.123",
        "x,k=v",
        "z,a=1,h=2",
        "é",
    ];
    let rests = vec![
        "",
        "",
        "",
        " 1",
        "\t20",
        " 1234567",
        " 12345678",
        " 123456789012",
        " 1234567890123456",
        "\r",
        " 3\r",
    ];
    let plain = (prop::sample::select(names), prop::sample::select(rests));
    let plain = plain.prop_map(|(name, rest)| format!("{name}{rest}").into_bytes());
    let others = vec![
        &b""[..],
        b" ",
        b"\r",
        b"\ta\t5 ",
        b"a=7",
        b"x,k=v=8",
        b"a  9",
        b"a 1 2",
        b"a b",
        b"5 a",
        b"z,h=2,a=1",
        b"\xff",
        b"a\0",
        b"a \xff",
        b"a -1",
        b"a 99999999999999999999",
        b"12",
        b"a..b",
        b"c\xc3",
    ];
    let others = prop::sample::select(others).prop_map(<[u8]>::to_vec);
    let long = (4_090..4_103_usize).prop_map(|length| vec![b'a'; length]);
    prop_oneof![40 => plain, 4 => others, 1 => long]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn lines_in_groups_are_counted_as_one_by_one(
        lines in prop::collection::vec(line(), 0..120),
        ended: bool,
        tagged in prop::bool::weighted(0.2),
        cuts in prop::collection::vec(prop_oneof![1..40_usize, 1..3_000_usize], 1..30),
    ) {
        let mut input = lines.join(&b'\n');
        if ended && !input.is_empty() {
            input.push(b'\n');
        }
        let (mut blocks, mut rest) = (Vec::new(), input.as_slice());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (block, later) = rest.split_at((*cut).min(rest.len()));
            blocks.push(block.to_vec());
            rest = later;
        }
        check(blocks, if tagged { &[("h", "x")] } else { &[] });
    }
}
