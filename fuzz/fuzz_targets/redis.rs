//! The parser of redis_like: bytes as they come, and commands as clients write them.
#![no_main]

#[allow(dead_code)]
#[path = "../../examples/redis_like/resp.rs"]
mod resp;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut words = Vec::new();
    let mut input = bytes;
    while let Ok(Some(length)) = resp::parse(input, &mut words) {
        assert!(length <= input.len() && length > 0);
        // With less than the whole command there is no command, and nothing is wrong yet.
        for less in [0, length / 2, length - 1] {
            assert_eq!(resp::parse(&input[..less], &mut Vec::new()), Ok(None));
        }
        let mut again = Vec::new();
        assert_eq!(resp::parse(&input[..length], &mut again), Ok(Some(length)));
        assert_eq!(again, words);
        input = &input[length..];
    }
    // Whatever the bytes are, they can be the words of a command.
    let parts: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    let mut command = format!("*{}\r\n", parts.len()).into_bytes();
    for part in &parts {
        command.extend(format!("${}\r\n", part.len()).into_bytes());
        command.extend(*part);
        command.extend(b"\r\n");
    }
    assert_eq!(resp::parse(&command, &mut words), Ok(Some(command.len())));
    assert_eq!(words, parts);
});
