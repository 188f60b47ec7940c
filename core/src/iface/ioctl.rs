//! The machine's addresses without a netlink socket, through which the system's
//! library asks for them, and which sandboxes forbid (`RestrictAddressFamilies`
//! of systemd, seccomp): by `ioctl` on an ordinary socket (netdevice(7)) and, for
//! IPv6, from `/proc/net/if_inet6` (proc(5)).

use super::Address;
use socket2::{Domain, Socket, Type};
use std::{
    io,
    mem::size_of,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd,
};

/// The bytes of a request (`struct ifreq`), and of the name that it begins with.
const REQUEST: usize = size_of::<libc::ifreq>();
const NAME: usize = libc::IFNAMSIZ;
/// Room for the machine's IPv4 addresses, in bytes, at first and at most.
const ROOM: (usize, usize) = (64 * REQUEST, 1 << 22);

/// Every address of the machine.
pub(super) fn addresses() -> io::Result<Vec<Address>> {
    let open = |domain| Socket::new(domain, Type::DGRAM, None);
    let socket = open(Domain::IPV4).or_else(|_| open(Domain::IPV6))?;
    let v4 = v4(&configuration(&socket)?);
    // Without IPv6 there is no such file.
    let v6 = v6(&std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default());
    let found = v4.into_iter().chain(v6).map(|(name, ip)| {
        let flags = ask(&socket, libc::SIOCGIFFLAGS, &name).unwrap_or_default();
        let flags = i32::from(u16::from_ne_bytes([flags[0], flags[1]]));
        let has = |flag: libc::c_int| flags & flag != 0;
        let index = ask(&socket, libc::SIOCGIFINDEX, &name).unwrap_or_default();
        Address {
            ip,
            index: u32::from_ne_bytes(index),
            up: has(libc::IFF_RUNNING),
            multicast: has(libc::IFF_MULTICAST),
            loopback: has(libc::IFF_LOOPBACK),
            name,
        }
    });
    Ok(found.collect())
}

/// Interfaces and their IPv4 addresses: requests as `SIOCGIFCONF` fills them.
fn v4(requests: &[u8]) -> Vec<(String, IpAddr)> {
    let (requests, _) = requests.as_chunks::<REQUEST>();
    let one = |request: &[u8; REQUEST]| {
        let (name, addr) = request.split_at(NAME);
        let family = u16::from_ne_bytes([addr[0], addr[1]]);
        let ip: [u8; 4] = addr[4..8].try_into().ok()?;
        let name = name.split(|byte| *byte == 0).next()?;
        // A second address may have a label of its own, `eth0:1`.
        let name = String::from_utf8_lossy(name.split(|byte| *byte == b':').next()?);
        let is_v4 = i32::from(family) == libc::AF_INET;
        is_v4.then(|| (name.into_owned(), Ipv4Addr::from(ip).into()))
    };
    requests.iter().filter_map(one).collect()
}

/// Interfaces and their IPv6 addresses: lines of address, index, length of the
/// prefix, scope, flags and name.
fn v6(lines: &str) -> Vec<(String, IpAddr)> {
    let one = |line: &str| {
        let mut fields = line.split_whitespace();
        let ip = Ipv6Addr::from_bits(u128::from_str_radix(fields.next()?, 16).ok()?);
        let name = fields.nth(4)?.to_owned();
        // As the library does.
        (!ip.is_unicast_link_local()).then(|| (name, ip.into()))
    };
    lines.lines().filter_map(one).collect()
}

/// The machine's IPv4 configuration.
fn configuration(socket: &Socket) -> io::Result<Vec<u8>> {
    let mut room = ROOM.0;
    loop {
        let mut buffer = vec![0_u8; room];
        let mut request = libc::ifconf {
            ifc_len: room.try_into().unwrap_or(libc::c_int::MAX),
            ifc_ifcu: libc::__c_anonymous_ifc_ifcu { ifcu_buf: buffer.as_mut_ptr().cast() },
        };
        // SAFETY: the kernel writes to `request`, and to `buffer` no more bytes
        // than `request` says that there are; both live longer than the call.
        #[expect(unsafe_code, reason = "the standard library has no such call")]
        let done =
            unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFCONF as _, &raw mut request) };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        let filled = usize::try_from(request.ifc_len).unwrap_or_default().min(room);
        // What doesn't fit is left out without a word.
        if filled + REQUEST <= room || room >= ROOM.1 {
            buffer.truncate(filled);
            return Ok(buffer);
        }
        room *= 2;
    }
}

/// Asks something about an interface: the first four bytes of the answer.
fn ask(socket: &Socket, what: libc::c_ulong, name: &str) -> io::Result<[u8; 4]> {
    let mut request = [0_u8; REQUEST];
    // The final 0 stays.
    let name = name.as_bytes();
    request[..NAME - 1].iter_mut().zip(name).for_each(|(to, from)| *to = *from);
    // SAFETY: the kernel reads and writes one `ifreq`, of which `request` has the
    // size, and which lives longer than the call.
    #[expect(unsafe_code, reason = "the standard library has no such call")]
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), what as _, request.as_mut_ptr()) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(std::array::from_fn(|i| request[NAME + i]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn without_netlink_the_same_addresses_are_found() {
        type Seen = BTreeSet<(String, u32, IpAddr, bool)>;
        let seen = |all: Vec<Address>| -> Seen {
            all.into_iter().map(|a| (a.name, a.index, a.ip, a.multicast)).collect()
        };
        assert_eq!(seen(addresses().unwrap()), seen(super::super::by_library().unwrap()));
    }

    #[test]
    fn lines_that_are_not_understood_are_left_out() {
        let lines = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     fd000000000000000000000000000002 02 40 00 82     eth0\n\
                     fe80000000000000c02cf9fffe0d1f2b 02 40 20 80     eth0\n\
                     nonsense 02 40 20 80 eth0\n\
                     fd000000000000000000000000000003 02\n\n";
        let found = v6(lines);
        assert_eq!(found[0], ("lo".into(), Ipv6Addr::LOCALHOST.into()));
        assert_eq!((&*found[1].0, found.len()), ("eth0", 2));
        assert_eq!(v4(&[0; REQUEST + 1]), []);
    }
}
