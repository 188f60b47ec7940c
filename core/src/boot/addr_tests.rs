use super::*;

const ID: &str = "12D3KooWPp1Xz8oHjyrMTi6fPeQAuEqpDGvv36EvHrjHqXUnEJvw";

#[test]
fn every_form_comes_back_as_it_was_written() {
    let id = |form: &str| form.replace("ID", ID);
    for text in [
        "auto",
        "none",
        "/ip4/10.0.0.0/udp/8822/cidr/24",
        "/ip4/10.0.0.0/udp/8822/cidr/31",
        "/ip4/10.0.0.0/udp/8822/cidr/32",
        "/ip6/fd00::/udp/8822/cidr/112",
        "/ip4/127.0.0.1/udp/8822",
        "/ip6/::1/udp/8822",
        "/ip4/127.0.0.1/udp/8822/ports/32",
        "/ip4/127.0.0.1/udp/65535/ports/1",
        "/ip4/228.8.8.8/udp/8822/multicast/eth0",
        "/ip4/228.8.8.8/udp/8822/multicast/eth0/survey",
        "/ip6/ff02::8822/udp/8822/multicast/eth0/survey",
        "/dns/casm.default.svc.cluster.local/udp/8822",
        "/dns4/example.org/udp/1",
        "/dns6/example.org/udp/1",
        "/ip4/10.0.0.1/tcp/4001/p2p/ID",
        "/ip4/10.0.0.1/udp/4001/quic-v1/p2p/ID",
        "/dns/example.org/tcp/4001/p2p/ID",
        "/dnsaddr/example.org/p2p/ID",
        "/dnsaddr/example.org",
    ] {
        let text = id(text);
        let addr: BootAddr = text.parse().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(addr.to_string(), text);
    }
}

#[test]
fn a_bad_address_is_named_with_what_to_write_instead() {
    for (text, hint) in [
        ("", "write `auto`"),
        ("Auto", "write `auto`"),
        ("/ip4/10.0.0.0", "does not end in `/p2p/"),
        ("/ip4/300.0.0.1/udp/8822", "not an ip4 address"),
        ("/ip4/::1/udp/8822", "not an ip4 address"),
        ("/ip4/10.0.0.1/udp/0", "write 1 to 65535"),
        ("/ip4/10.0.0.1/udp/70000", "write 1 to 65535"),
        ("/ip4/10.0.0.0/udp/8822/cidr/33", "at most 32"),
        ("/ip4/10.0.0.0/udp/8822/cidr/-1", "write 0 to 32"),
        ("/ip4/10.0.0.0/udp/8822/cidr", "not known here"),
        ("/ip6/fd00::/udp/8822/cidr/64", "write a prefix of 96 to 128"),
        ("/ip6/fd00::/udp/8822/cidr/129", "at most 128"),
        ("/ip4/127.0.0.1/udp/8822/ports/0", "write 1 to 56714"),
        ("/ip4/127.0.0.1/udp/65535/ports/2", "write 1 to 1"),
        ("/ip4/10.0.0.1/udp/8822/multicast/eth0", "not a multicast group"),
        ("/ip4/228.8.8.8/udp/8822", "/ip4/228.8.8.8/udp/8822/multicast/eth0"),
        ("/ip4/228.8.8.8/udp/8822/multicast", "comes the interface"),
        ("/ip4/228.8.8.8/udp/8822/multicast/eth0/slow", "`survey` at most"),
        ("/dns/example.org/udp/8822/cidr/24", "nothing may follow"),
        ("/dns//udp/8822", "the name is empty"),
        ("/dns/bücher.example/udp/8822", "in Punycode"),
        ("/dnsaddr/bücher.example", "in Punycode"),
        ("/dns4/bücher.example/tcp/4001/p2p/ID", "in Punycode"),
        ("/p2p/12D3KooWPp1Xz8oHjyrMTi6fPeQAuEqpDGvv36EvHrjHqXUnEJvw", "not where it is"),
        ("/ip4/10.0.0.1/tcp/4001/p2p/nonsense", "write `auto`"),
    ] {
        let error = text.parse::<BootAddr>().expect_err(text);
        assert_eq!(error.kind(), ErrorKind::Address, "{text}");
        assert!(error.message().contains(hint), "{text}: {error}");
        assert!(error.message().contains(&format!("{text:?}")), "{error}");
    }
}

#[test]
fn a_list_is_divided_by_commas_and_none_stands_alone() {
    let list = BootAddr::parse_list("auto, /ip4/127.0.0.1/udp/8822").unwrap();
    assert_eq!(list.len(), 2);
    let error = BootAddr::parse_list("none,auto").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

proptest::proptest! {
    #[test]
    fn parsing_never_panics_and_display_parses(text in "(/[a-z0-9.:]{0,12}){0,7}|\\PC{0,40}") {
        if let Ok(addr) = text.parse::<BootAddr>() {
            proptest::prop_assert_eq!(addr.to_string().parse::<BootAddr>().unwrap(), addr);
        }
    }
}
