//! Which IP addresses are public: the special-purpose registries of IANA (RFC 6890 and what followed it).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range: its first address, and how many bits of it count.
type Range4 = ([u8; 4], u32);
type Range6 = ([u16; 8], u32);

/// What is not public of IPv4.
const SPECIAL_4: [Range4; 16] = [
    // this network
    ([0, 0, 0, 0], 8),
    // private
    ([10, 0, 0, 0], 8),
    // shared by the customers of a provider (CGNAT)
    ([100, 64, 0, 0], 10),
    // loopback
    ([127, 0, 0, 0], 8),
    // link-local; the metadata of most clouds
    ([169, 254, 0, 0], 16),
    // the metadata of Azure, in a range that is public otherwise
    ([168, 63, 129, 16], 32),
    // private
    ([172, 16, 0, 0], 12),
    // IETF protocol assignments
    ([192, 0, 0, 0], 24),
    // documentation
    ([192, 0, 2, 0], 24),
    // 6to4 relays
    ([192, 88, 99, 0], 24),
    // private
    ([192, 168, 0, 0], 16),
    // benchmarks
    ([198, 18, 0, 0], 15),
    // documentation
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    // multicast
    ([224, 0, 0, 0], 4),
    // reserved, and broadcast
    ([240, 0, 0, 0], 4),
];

/// Global unicast of IPv6: all else is not public.
const GLOBAL_6: Range6 = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
/// What is not public within it.
const SPECIAL_6: [Range6; 5] = [
    // IETF protocol assignments: Teredo, ORCHID, benchmarks
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    // documentation
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
    // 6to4: any address of IPv4, behind a relay
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    // the former 6bone
    ([0x3ffe, 0, 0, 0, 0, 0, 0, 0], 16),
];
/// NAT64 (RFC 6052): the last 32 bits are an address of IPv4, which is where it leads.
const NAT64: Range6 = ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

/// Whether an address is one of the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_4(address),
        IpAddr::V6(address) => is_public_6(address),
    }
}

fn is_public_4(address: Ipv4Addr) -> bool {
    let bits = address.to_bits();
    !SPECIAL_4.iter().any(|(first, prefix)| {
        let first = Ipv4Addr::from(*first).to_bits();
        (bits ^ first) >> (32 - prefix) == 0
    })
}

fn is_public_6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_4(mapped);
    }
    let bits = address.to_bits();
    let is_in = |(first, prefix): &Range6| {
        let first = Ipv6Addr::from(*first).to_bits();
        (bits ^ first) >> (128 - prefix) == 0
    };
    if is_in(&NAT64) {
        return is_public_4(Ipv4Addr::from_bits(bits as u32));
    }
    is_in(&GLOBAL_6) && !SPECIAL_6.iter().any(is_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_public_is_known() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:808:808::1",
            "3fff::1",
            "3ffe::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "5f00::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_beside_it_is_public() {
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "168.63.129.17",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2606:4700::1111",
            "2a00::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }
}
