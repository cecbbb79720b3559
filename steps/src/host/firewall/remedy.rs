//! The command that lets through what a chain stops, in the words of whoever keeps that chain. It does not try it.

use super::rules::Rules;
use super::trace::Culprit;
use crate::farm::Farm;

/// How to let it through.
pub(super) fn of(culprit: &Culprit, farm: &Farm, rules: &Rules) -> String {
    let Culprit { family, table, chain, direction, .. } = culprit;
    let bridge = &farm.bridge;
    let is_in = direction == "iif";
    let is_filter = family == "ip" && table == "filter";
    let is_forward = chain.to_lowercase().contains("forward");
    if table == "firewalld" || rules.mention("table inet firewalld") && is_filter {
        return format!(
            "`firewall-cmd --permanent --zone=trusted --add-interface={bridge} && firewall-cmd --reload`"
        );
    }
    if is_filter && rules.mention(":ufw-") {
        return match (is_forward, is_in) {
            (true, _) => format!("`ufw route allow in on {bridge} && ufw route allow out on {bridge}`"),
            (false, true) => format!("`ufw allow in on {bridge}`"),
            (false, false) => format!("`ufw allow out on {bridge}`"),
        };
    }
    if is_filter && is_forward && rules.mention("DOCKER-USER") {
        return both("DOCKER-USER", bridge, "iptables");
    }
    if is_filter && chain.chars().any(char::is_uppercase) {
        let program = if culprit.is_legacy { "iptables-legacy" } else { "iptables" };
        return match (is_forward, is_in) {
            (true, _) => both(chain, bridge, program),
            (false, true) => format!("`{program} -I {chain} -i {bridge} -j ACCEPT`"),
            (false, false) => format!("`{program} -I {chain} -o {bridge} -j ACCEPT`"),
        };
    }
    by_nft(culprit, bridge)
}

fn both(chain: &str, bridge: &str, program: &str) -> String {
    format!("`{program} -I {chain} -i {bridge} -j ACCEPT && {program} -I {chain} -o {bridge} -j ACCEPT`")
}

fn by_nft(Culprit { family, table, chain, direction, .. }: &Culprit, bridge: &str) -> String {
    let lasting = "and the same in /etc/nftables.conf, or wherever that table comes from";
    let insert = |family: &str, key: &str| {
        format!("nft insert rule {family} {table} {chain} {key} \"{bridge}\" accept")
    };
    match (family.as_str(), direction.as_str()) {
        ("", _) => "find the rule, and let through what comes from the bridge and goes to it".to_owned(),
        ("netdev", _) => format!(
            "`nft insert rule netdev {table} {chain} ip protocol {{ tcp, udp }} accept` (`nft -a list chain netdev {table} {chain}` \
             shows what stops it), {lasting}"
        ),
        ("bridge", "iif") => format!("`{}`, {lasting}", insert("bridge", "meta ibrname")),
        ("bridge", _) => format!("`{}`, {lasting}", insert("bridge", "meta obrname")),
        // Of a connection to the world, both ways pass one chain.
        (family, _) if chain.to_lowercase().contains("forward") => {
            format!("`{} && {}`, {lasting}", insert(family, "iifname"), insert(family, "oifname"))
        }
        (family, "iif") => format!("`{}`, {lasting}", insert(family, "iifname")),
        (family, _) => format!("`{}`, {lasting}", insert(family, "oifname")),
    }
}
