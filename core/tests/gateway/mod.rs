//! The gateway of a home: speaks UPnP on the router's interface `lan`, and really opens
//! ports, by nftables; or does one of the things that no gateway should do.

use crate::netns::say;
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

const LAN: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);

/// Where a port leads, by protocol and port.
type Ports = BTreeMap<(String, u16), String>;

/// `gateway ADDRESS [WHAT]`: says `ready`, then `mapped PROTOCOL PORT to CLIENT for SECONDS`
/// and `deleted PROTOCOL PORT`. What it may do instead of its task: answer with `garbage`,
/// without an end (`huge`), or not at all (`silent`); say that it is `elsewhere`, at that
/// address.
pub fn run(args: &[String]) {
    let what: Arc<str> = args.get(1).map_or("", String::as_str).into();
    let outside: Arc<str> = args[0].as_str().into();
    let socket = UdpSocket::bind(("0.0.0.0", 1900)).unwrap();
    socket.join_multicast_v4(&GROUP, &LAN).unwrap();
    let server = TcpListener::bind((LAN, 5000)).unwrap();
    let location = match &*what {
        "elsewhere" => format!("http://{outside}:5000/root.xml"),
        _ => format!("http://{LAN}:5000/root.xml"),
    };
    std::thread::spawn(move || search(&socket, &location));
    say("ready");
    let ports = Arc::new(Mutex::new(Ports::new()));
    for stream in server.incoming() {
        let (ports, outside, what) = (ports.clone(), outside.clone(), what.clone());
        std::thread::spawn(move || serve(stream.unwrap(), &ports, &outside, &what));
    }
}

/// `web`: says `asked` if anybody connects to where a gateway would be.
pub fn web() {
    let server = TcpListener::bind(("0.0.0.0", 5000)).unwrap();
    say("ready");
    for _ in server.incoming() {
        say("asked");
    }
}

fn search(socket: &UdpSocket, location: &str) {
    let mut buffer = [0; 1500];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        assert!(text.starts_with("M-SEARCH * HTTP/1.1\r\n"), "{text}");
        assert!(text.contains("\r\nMAN: \"ssdp:discover\"\r\n"), "{text}");
        let answer = format!(
            "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\n\
             ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nEXT:\r\n\
             USN: uuid:1::urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\
             LOCATION: {location}\r\n\r\n"
        );
        socket.send_to(answer.as_bytes(), from).unwrap();
    }
}

fn serve(mut stream: TcpStream, ports: &Mutex<Ports>, outside: &str, what: &str) {
    let Some(request) = read(&mut stream) else { return };
    match what {
        "silent" => std::thread::park(),
        "garbage" => answer(&mut stream, "<root><device>\u{1F4A5}<<service></>&&"),
        "huge" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            let piece = [b'<'; 4096];
            // As much as the system holds is sent in any case.
            let pieces = (0..).take_while(|_| stream.write_all(&piece).is_ok()).count();
            say(format!("cut {}", pieces * piece.len()));
        }
        _ if request.starts_with("GET /root.xml ") => answer(&mut stream, DESCRIPTION),
        _ => call(&mut stream, &request, ports, outside),
    }
}

fn call(stream: &mut TcpStream, request: &str, ports: &Mutex<Ports>, outside: &str) {
    assert!(request.starts_with("POST /ctl/IPConn HTTP/1.1\r\n"), "{request}");
    let action = between(request, "WANIPConnection:1#", "\"").expect("an action");
    let argument = |name: &str| {
        between(request, &format!("<{name}>"), "<").unwrap_or_else(|| panic!("{name}: {request}"))
    };
    let done = |more: &str| {
        format!(
            "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\">\
             <s:Body><u:{action}Response xmlns:u=\"urn:schemas-upnp-org:service:WANIPConnection:1\">\
             {more}</u:{action}Response></s:Body></s:Envelope>"
        )
    };
    let key = || {
        let port: u16 = argument("NewExternalPort").parse().unwrap();
        (argument("NewProtocol").to_lowercase(), port)
    };
    match action {
        "GetExternalIPAddress" => {
            let ip = format!("<NewExternalIPAddress>{outside}</NewExternalIPAddress>");
            answer(stream, &done(&ip));
        }
        "AddPortMapping" => {
            let (protocol, port) = key();
            let client = argument("NewInternalClient");
            let to = format!("{client}:{}", argument("NewInternalPort"));
            let mut ports = ports.lock().unwrap();
            ports.insert((protocol.clone(), port), to);
            open(&ports);
            let lasts = argument("NewLeaseDuration");
            say(format!("mapped {protocol} {port} to {client} for {lasts}"));
            answer(stream, &done(""));
        }
        "DeletePortMapping" => {
            let (protocol, port) = key();
            let mut ports = ports.lock().unwrap();
            ports.remove(&(protocol.clone(), port));
            open(&ports);
            say(format!("deleted {protocol} {port}"));
            answer(stream, &done(""));
        }
        other => panic!("{other} was not expected"),
    }
}

/// Has the router let in what is mapped.
fn open(ports: &Ports) {
    let rules: String = ports
        .iter()
        .map(|((protocol, port), to)| {
            format!("iifname eth0 {protocol} dport {port} dnat to {to};\n")
        })
        .collect();
    let rules = format!(
        "table ip upnp {{}}
        delete table ip upnp
        table ip upnp {{
            chain pre {{ type nat hook prerouting priority -100; {rules} }}
        }}
        flush chain ip home through
        add rule ip home through iifname eth0 ct status dnat accept
        add rule ip home through iifname eth0 ct state new drop"
    );
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft");
    nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success(), "{rules}");
}

/// A whole request.
fn read(stream: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                between(head, "Content-Length: ", "\r\n").map_or(0, |n| n.parse().unwrap());
            if body.len() >= length {
                return Some(text.into_owned());
            }
        }
        match stream.read(&mut piece) {
            Ok(read) if read > 0 => bytes.extend_from_slice(&piece[..read]),
            _ => return None,
        }
    }
}

fn answer(stream: &mut TcpStream, body: &str) {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\n";
    let length = body.len();
    let _ = stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes());
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    rest.split(end).next()
}

const DESCRIPTION: &str = r#"<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>
<deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType>
<serviceList><service>
<serviceType>urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1</serviceType>
<SCPDURL>/WANCfg.xml</SCPDURL><controlURL>/ctl/CmnIfCfg</controlURL>
</service></serviceList>
<deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType>
<serviceList><service>
<serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>
<SCPDURL>/WANIPCn.xml</SCPDURL><controlURL>/ctl/IPConn</controlURL>
</service></serviceList>
</device></deviceList>
</device></deviceList>
</device></root>"#;
