//! Brings a loopback device up, without iproute2: a fresh machine has none.

use anyhow::{Context, Result, bail};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, bind, recv, send, socket};

/// Sets the flag "up" of device 1, which is the loopback device of every network namespace.
pub(crate) fn bring_up() -> Result<()> {
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None).context("no netlink socket")?;
    bind(&socket, &SocketAddrNetlink::new(0, 0)).context("a netlink socket cannot be bound")?;
    send(&socket, &request(), SendFlags::empty()).context("a netlink request cannot be sent")?;
    let mut answer = [0; 1024];
    let (length, _) =
        recv(&socket, answer.as_mut_slice(), RecvFlags::empty()).context("netlink does not answer")?;
    // The acknowledgement is an error message whose number is 0.
    match answer[..length].get(16..20) {
        Some([0, 0, 0, 0]) => Ok(()),
        other => bail!("the loopback device cannot be brought up: netlink error {other:?}"),
    }
}

/// `RTM_NEWLINK` with `IFF_UP` for device 1, acknowledgement asked for: `nlmsghdr`, then `ifinfomsg`.
fn request() -> Vec<u8> {
    const LENGTH: u32 = 32;
    const RTM_NEWLINK: u16 = 16;
    const REQUEST_AND_ACK: u16 = 1 | 4;
    const DEVICE: i32 = 1;
    const IFF_UP: u32 = 1;
    let mut bytes = Vec::new();
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(RTM_NEWLINK.to_ne_bytes());
    bytes.extend(REQUEST_AND_ACK.to_ne_bytes());
    bytes.extend(1_u32.to_ne_bytes()); // sequence number
    bytes.extend(0_u32.to_ne_bytes()); // our port: the kernel's choice
    bytes.extend([0, 0]); // family, padding
    bytes.extend(0_u16.to_ne_bytes()); // device type
    bytes.extend(DEVICE.to_ne_bytes());
    bytes.extend(IFF_UP.to_ne_bytes()); // flags
    bytes.extend(IFF_UP.to_ne_bytes()); // which of them are meant
    bytes
}
