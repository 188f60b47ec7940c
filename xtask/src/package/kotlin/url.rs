//! The URL of a folder, for Maven, on every system.

use std::{fmt::Write, path::Path};

/// The URL of a path that is absolute.
pub fn of(path: &Path) -> String {
    let path = path.to_string_lossy();
    // With a drive or of a server, as Windows has it; elsewhere a backslash is in a name.
    let windows = path.as_bytes().get(1) == Some(&b':') || path.starts_with("\\\\");
    let path = if windows { path.replace('\\', "/") } else { path.into_owned() };
    let path = path.strip_prefix("//?/").unwrap_or(&path);
    let root = match path {
        // The server's name comes first.
        _ if path.starts_with("//") => "file:",
        _ if path.starts_with('/') => "file://",
        _ => "file:///",
    };
    path.bytes().fold(root.to_owned(), |mut url, byte| {
        if byte.is_ascii_alphanumeric() || b"/:-._~".contains(&byte) {
            url.push(byte.into());
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
        url
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_a_url_on_every_system() {
        let folders = [
            ("/src/target/maven", "file:///src/target/maven"),
            ("/src/my target/\u{fc}&\\", "file:///src/my%20target/%C3%BC%26%5C"),
            ("C:\\Users\\me and you\\target", "file:///C:/Users/me%20and%20you/target"),
            ("\\\\?\\D:\\a\\casm", "file:///D:/a/casm"),
            ("\\\\server\\share\\maven", "file://server/share/maven"),
        ];
        for (path, url) in folders {
            assert_eq!(of(Path::new(path)), url);
        }
    }
}
