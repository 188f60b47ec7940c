use super::{super::fixtures::*, *};
use proptest::prelude::*;

#[test]
fn what_was_written_is_read_again() {
    let certificate = certificate(peer(1));
    let text = certificate.to_text();
    assert!(text.starts_with("-----BEGIN CASM CERTIFICATE-----\n"), "{text}");
    assert!(text.ends_with("\n-----END CASM CERTIFICATE-----\n"), "{text}");
    assert!(text.lines().all(|line| line.len() <= 64), "{text}");
    let windows = text.replace('\n', "\r\n");
    let one_line = {
        let mut lines: Vec<_> = text.lines().collect();
        let (end, begin) = (lines.pop().unwrap(), lines.remove(0));
        format!("{begin}\n{}\n{end}", lines.concat())
    };
    let around = format!("Of the host a.\n\n{text}\nUntil May.\n");
    for file in [&text, &windows, &one_line, &around] {
        assert_eq!(Certificate::parse(file.as_bytes()).unwrap(), certificate, "{file}");
    }
    let revocations: Vec<_> = (1..9).map(|n| revocation(peer(n), NOW)).collect();
    let file: String = revocations.iter().map(Revocation::to_text).collect();
    assert_eq!(Revocation::parse(file.as_bytes()).unwrap(), revocations);
    assert_eq!(Revocation::parse(b"none yet\n").unwrap(), []);
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let text = certificate(peer(1)).to_text();
    let revoked = revocation(peer(1), NOW).to_text();
    let begin = "-----BEGIN CASM CERTIFICATE-----\n";
    let end = "-----END CASM CERTIFICATE-----\n";
    let forged = {
        let mut bytes = certificate(peer(1)).encoded().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        write(&bytes, &CERTIFICATE)
    };
    for (file, hint) in [
        (String::new(), "it holds none"),
        (text.repeat(2), "more than 1"),
        (revoked.clone(), "a CASM REVOCATION"),
        (text.replace("CASM CERTIFICATE", "PRIVATE KEY"), "a PRIVATE KEY"),
        (text[..text.len() - 40].to_owned(), "it is cut"),
        (format!("{begin}{text}"), "before the last one has ended"),
        (end.to_owned(), "an end without a beginning"),
        (text.replace("-----END CASM CERTIFICATE", "-----END X"), "an end without"),
        (format!("{begin}####\n{end}"), "not in base64"),
        (format!("{begin}AAA\n{end}"), "not in base64"),
        (format!("{begin}AAAA\n{end}"), "no signed envelope"),
        (format!("{begin}{}\n{end}", "A".repeat(2736)), "more than 2048 bytes"),
        (forged, "the signature is wrong"),
        ("x".repeat(MAX_FILE as usize + 1), "longer than 16384 bytes"),
    ] {
        let error = Certificate::parse(file.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(hint), "{error} doesn't say {hint}");
        assert!(error.message().contains("casm admit sign"), "{error}");
    }
    let forged = {
        let mut bytes = revocation(peer(1), NOW).encoded().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        write(&bytes, &REVOCATION)
    };
    let second = format!("{revoked}{forged}");
    for (file, hint) in [
        (second, "revocation 2 in it"),
        (text, "a CASM CERTIFICATE"),
        ("x".repeat(MAX_REVOCATIONS as usize + 1), "longer than 4194304 bytes"),
        (write(b"", &REVOCATION).repeat(MAX_REVOKED + 1), "more than 4096"),
    ] {
        let error = Revocation::parse(file.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(hint), "{error} doesn't say {hint}");
        assert!(error.message().contains("casm admit revoke"), "{error}");
    }
}

#[test]
fn a_file_is_cut_at_no_byte_unseen() {
    let text = certificate(peer(1)).to_text();
    // The last line's end is of no use.
    for cut in 0..text.len() - 1 {
        assert!(Certificate::parse(&text.as_bytes()[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn errors_of_files_name_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cert");
    for (error, hint) in [
        (Certificate::load(&path).unwrap_err(), "casm admit sign"),
        (Revocation::load(&path).unwrap_err(), "casm admit revoke"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Io);
        let message = error.message();
        assert!(message.contains(path.to_str().unwrap()) && message.contains(hint), "{error}");
    }
    std::fs::write(&path, certificate(peer(1)).to_text()).unwrap();
    assert_eq!(Certificate::load(&path).unwrap(), certificate(peer(1)));
    let error = Revocation::load(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains(path.to_str().unwrap()), "{error}");
}

proptest! {
    #[test]
    fn nothing_panics(
        before in ".{0,20}",
        inside in prop::collection::vec(any::<u8>(), 0..200),
        end in any::<bool>(),
    ) {
        let mut file = format!("{before}\n-----BEGIN CASM REVOCATION-----\n").into_bytes();
        file.extend(&inside);
        if end {
            file.extend(b"\n-----END CASM REVOCATION-----");
        }
        prop_assert!(Revocation::parse(&file).is_err(), "nobody has signed it");
        prop_assert!(Certificate::parse(&file).is_err());
    }
}
