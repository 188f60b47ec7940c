use super::*;
use proptest::prelude::*;

/// Of go-ipfs and its fingerprint there, as rust-libp2p's tests have them.
const HEX: &str = "6189c5cf0b87fb800c1a9feeda73c6ab5e998db48fb9e6a978575c770ceef683";
const FINGERPRINT: &str = "45fc986bbc9388a11d939df26f730f0c";

fn file(encoding: &str, key: impl AsRef<[u8]>) -> Vec<u8> {
    let head = format!("/key/swarm/psk/1.0.0/\n/{encoding}/\n");
    [head.as_bytes(), key.as_ref()].concat()
}

fn bytes() -> [u8; LEN] {
    let mut bytes = [0; LEN];
    hex(HEX.as_bytes(), &mut bytes).unwrap();
    bytes
}

#[test]
fn a_secret_is_read_in_every_encoding_and_has_the_fingerprint_of_others() {
    let base64 = BASE64.encode(bytes());
    let wrapped = format!("{}\r\n{}\r\n", &base64[..20], &base64[20..]);
    for (encoding, key) in [
        ("base16", HEX.as_bytes().to_vec()),
        ("base16", format!("{}\n", HEX.to_uppercase()).into_bytes()),
        ("base64", base64.clone().into_bytes()),
        ("base64", format!("{}\n", base64.trim_end_matches('=')).into_bytes()),
        ("base64", wrapped.into_bytes()),
        ("bin", bytes().to_vec()),
        ("bin", [&bytes()[..], b"\n"].concat()),
    ] {
        let whole = file(encoding, &key);
        let secret = Secret::parse(&whole).unwrap();
        assert_eq!(secret.0, bytes(), "{encoding}");
        assert_eq!(secret.fingerprint(), FINGERPRINT);
        // As it comes from Windows.
        if encoding != "bin" {
            let text = String::from_utf8(whole).unwrap().replace('\n', "\r\n");
            assert_eq!(Secret::parse(text.as_bytes()).unwrap().0, bytes());
        }
    }
    // What looks like the end of a line or of a text is a byte like others.
    let odd = *b" \n\r\0\x1a                      /\xff\t \n";
    assert_eq!(Secret::parse(&file("bin", odd)).unwrap().0, odd);
}

#[test]
fn what_is_no_secret_is_refused_with_what_to_write_and_nothing_of_what_it_was() {
    let base64 = BASE64.encode(bytes());
    for (file, problem) in [
        (b"".to_vec(), "cut"),
        (b"/key/swarm/psk/1.0.0/".to_vec(), "cut"),
        (b"/key/swarm/psk/1.0.0/\n".to_vec(), "cut"),
        (b"/key/swarm/psk/1.0.0/\n/base16/\n".to_vec(), "fewer than 32"),
        (b"/key/swarm/psk/2.0.0/\n/base16/\n".to_vec(), "does not begin"),
        (b"-----BEGIN PRIVATE KEY-----\n".to_vec(), "does not begin"),
        (HEX.as_bytes().to_vec(), "no swarm.key"),
        (file("base32", HEX), "encoding"),
        (file("base16", &HEX[..62]), "fewer than 32"),
        (file("base16", &HEX[..63]), "fewer than 32"),
        (file("base16", format!("{HEX}00")), "more than 32"),
        (file("base16", format!("+{}", &HEX[1..])), "base16"),
        (file("base16", format!("{HEX}\nmore")), "base16"),
        (file("base64", &base64[..40]), "fewer than 32"),
        (file("base64", &base64[..41]), "base64"),
        (file("base64", BASE64.encode([1; 33])), "more than 32"),
        (file("base64", "!".repeat(44)), "base64"),
        (file("bin", &bytes()[..31]), "fewer than 32"),
        (file("bin", [&bytes()[..], &[1]].concat()), "more than 32"),
        (file("base16", "0".repeat(64)), "the same"),
        (file("bin", [7; 32]), "the same"),
    ] {
        let error = Secret::parse(&file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let message = error.to_string();
        assert!(message.contains(problem) && message.contains("casm key secret"), "{message}");
        assert!(!message.contains(&HEX[2..20]) && !message.contains(&base64[..20]), "{message}");
    }
}

#[test]
fn nothing_prints_it() {
    let secret = Secret::from_bytes(bytes());
    let config = crate::Config { secret: Some(secret.clone()), ..Default::default() };
    let builder = crate::Node::builder().secret(secret.clone());
    let boot = crate::boot::BootConfig { secret: Some(secret.clone()), ..Default::default() };
    let all = [
        format!("{secret:?}"),
        format!("{secret:#?}"),
        secret.to_string(),
        format!("{config:?}"),
        format!("{builder:?}"),
        format!("{boot:?}"),
    ];
    let decimal = format!("{:?}", &bytes()[..3]);
    for text in all {
        assert!(text.contains(FINGERPRINT), "{text}");
        let quiet = text.to_lowercase();
        assert!(!quiet.contains(&HEX[..8]) && !quiet.contains(&HEX[56..]), "{text}");
        assert!(!text.contains(decimal.trim_matches(['[', ']'])), "{text}");
    }
}

#[test]
fn a_secret_comes_back_as_it_was_saved_and_only_its_owner_may_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("swarm.key");
    let secret = Secret::generate().unwrap();
    assert_ne!(secret.0, Secret::generate().unwrap().0);
    secret.save(&path).unwrap();
    assert_eq!(Secret::load(&path).unwrap().0, secret.0);
    // As libp2p reads it.
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.parse::<PreSharedKey>().unwrap(), secret.psk());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let error = secret.save(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("not overwritten"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn errors_name_the_path_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let absent = dir.path().join("absent/swarm.key");
    for (path, kind, hint) in [
        (absent.clone(), ErrorKind::Io, "casm key secret"),
        (at("cut", &file("base16", &HEX[..20])), ErrorKind::Config, "casm key secret"),
        (at("long", &vec![b'0'; 2000]), ErrorKind::Config, "too long"),
        (dir.path().to_path_buf(), ErrorKind::Io, "secret file"),
    ] {
        let error = Secret::load(&path).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let message = error.to_string();
        assert!(message.contains(path.to_str().unwrap()) && message.contains(hint), "{message}");
    }
    let error = Secret::generate().unwrap().save(&absent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.message().contains("make its directory"), "{error}");
}

/// As the `hmac` of Python's standard library makes it, by RFC 5869.
#[test]
fn what_is_derived_is_hkdf_of_the_secret_and_the_purpose() {
    let secret = Secret::from_bytes(bytes());
    let derived: [u8; 36] = secret.derive(&[b"casm-boot", b"casm"]);
    let digits: String = derived.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = "16ded0821f00da3b5b84258d19ee4a84451aed70c637918d8c39e00dd96d\
                    993a7735a804";
    assert_eq!(digits, expected);
    assert_ne!(derived, secret.derive(&[b"casm-boot", b"casn"]));
    assert_ne!(derived, Secret::from_bytes([1; 32]).derive(&[b"casm-boot", b"casm"]));
}

#[test]
fn a_secret_that_is_given_as_a_path_is_not_shown() {
    let base64 = BASE64.encode(bytes());
    let whole = String::from_utf8(file("base16", HEX)).unwrap();
    for given in [HEX, &HEX[..40], &base64, base64.trim_end_matches('='), &whole] {
        let error = Secret::load(given).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        let message = format!("{error} {error:?}");
        assert!(message.contains("the secret itself"), "{message}");
        assert!(!message.contains(&HEX[2..20]) && !message.contains(&base64[..20]), "{message}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Secret::parse(&bytes);
        for encoding in ["base16", "base64", "bin"] {
            let _ = Secret::parse(&file(encoding, &bytes));
        }
    }

    #[test]
    fn every_secret_is_read_in_every_encoding(key: [u8; 32]) {
        prop_assume!(key.iter().any(|byte| *byte != key[0]));
        let digits = Secret(key).psk().to_key_file();
        for file in [
            digits.into_bytes(),
            file("base64", BASE64.encode(key)),
            file("bin", key),
        ] {
            prop_assert_eq!(Secret::parse(&file).unwrap().0, key);
        }
    }
}
