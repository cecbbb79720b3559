//! What `nft monitor trace` tells: which chain of which table dropped a packet of which kind of traffic.

use std::collections::HashMap;

/// What dropped a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Culprit {
    pub(super) family: String,
    pub(super) table: String,
    pub(super) chain: String,
    /// Whether it is of iptables' old kind.
    pub(super) is_legacy: bool,
    /// Whether the packet came in by the bridge (`iif`) or went out by it (`oif`).
    pub(super) direction: String,
}

impl Culprit {
    pub(super) fn chain_in_words(&self) -> String {
        if self.chain.is_empty() {
            return "some rule of it: see `nft list ruleset` and `iptables-legacy-save`".to_owned();
        }
        let old = if self.is_legacy { " of iptables-legacy" } else { "" };
        format!("table `{} {}`, chain `{}`{old}", self.family, self.table, self.chain)
    }
}

/// The drops, each with the word for the traffic that was dropped, in the order in which they came.
pub(super) fn drops(text: &str) -> Vec<(&'static str, Culprit)> {
    let mut packets: HashMap<&str, (&'static str, &'static str)> = HashMap::new();
    let mut drops = Vec::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("trace id ") else { continue };
        let mut words = rest.splitn(5, ' ');
        let (Some(id), Some(family), Some(table), Some(chain), Some(says)) =
            (words.next(), words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        if let Some(packet) = says.strip_prefix("packet: ") {
            if let Some(traffic) = traffic(packet) {
                packets.entry(id).or_insert((traffic, direction(traffic, packet)));
            }
        } else if says.contains("verdict drop)") || says.starts_with("policy drop") || is_refused(says) {
            let Some((traffic, direction)) = packets.get(id) else { continue };
            let culprit = Culprit {
                family: family.to_owned(),
                table: table.to_owned(),
                chain: chain.to_owned(),
                is_legacy: false,
                direction: (*direction).to_owned(),
            };
            drops.push((*traffic, culprit));
        }
    }
    drops
}

fn is_refused(says: &str) -> bool {
    says.starts_with("rule ")
        && (says.contains(" reject ") || says.contains("reject with") || says.ends_with(" reject"))
}

/// Which of the probe's kinds of traffic a packet is of.
fn traffic(packet: &str) -> Option<&'static str> {
    let has = |key: &str| {
        let place = packet.find(&format!("{key} "))?;
        packet[place + key.len() + 1..].split(' ').next()?.parse::<u16>().ok()
    };
    let (from, to) = (has("sport")?, has("dport")?);
    Some(match (from, to) {
        (_, 67) => "request",
        (67, _) => "answer",
        (_, 53) => "names",
        (22, _) | (_, 22) => "ssh",
        (80, _) | (_, 80) => "world",
        _ => return None,
    })
}

/// Whether the packet is one from the container, or one to it.
fn direction(traffic: &str, packet: &str) -> &'static str {
    let is_from_guest = match traffic {
        "request" | "names" => true,
        "answer" => false,
        "ssh" => packet.contains("sport 22 "),
        _ => packet.contains("dport 80 "),
    };
    if is_from_guest { "iif" } else { "oif" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_names_its_chain_and_what_it_dropped() {
        let text = "trace id 7d7e9c1a inet drover in packet: iif \"lxcbr0\" ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 udp length 14\n\
            trace id 7d7e9c1a inet drover in rule meta nftrace set 1 (verdict continue)\n\
            trace id 7d7e9c1a inet drover in policy accept\n\
            trace id 7d7e9c1a inet filter input packet: iif \"lxcbr0\" udp sport 68 udp dport 67\n\
            trace id 7d7e9c1a inet filter input verdict continue\n\
            trace id 7d7e9c1a inet filter input policy drop\n\
            trace id 11 ip filter FORWARD packet: iif \"lxcbr0\" oif \"eth0\" tcp sport 40000 tcp dport 80 tcp flags == syn\n\
            trace id 11 ip filter FORWARD rule counter packets 1 bytes 60 drop (verdict drop)\n\
            trace id 12 inet x in packet: iif \"eth0\" tcp sport 80 tcp dport 40000 tcp flags == 0x12\n\
            trace id 12 inet x in rule reject with icmpx admin-prohibited (verdict drop)\n\
            trace id 13 inet x in packet: iif \"eth0\" icmp type echo-request\n\
            trace id 13 inet x in policy drop\n";
        let told: Vec<_> = drops(text)
            .into_iter()
            .map(|(traffic, it)| {
                format!("{traffic} {} {} {} {}", it.family, it.table, it.chain, it.direction)
            })
            .collect();
        assert_eq!(
            told,
            ["request inet filter input iif", "world ip filter FORWARD iif", "world inet x in oif"]
        );
    }
}
