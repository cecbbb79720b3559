//! Records of nodes as they stand in the database: many to a value. Of a node that is in several, the last one counts.
//!
//! A database reads and writes its pages one by one, and a value for each node would fill thousands of them. This knows
//! bytes, not where they are kept.

use crate::seal::{seal, unseal};
use crate::{NodeId, NodeRecord};
use anyhow::{Context, Result};

/// Values stay far below the size from which sled puts them into files of their own, which it never deletes.
pub(crate) const ROOM: usize = 4096;

/// The values that hold these records, in their order.
pub(crate) fn pack(records: &[(NodeId, NodeRecord)]) -> Result<Vec<Vec<u8>>> {
    let (mut values, mut value) = (Vec::new(), Vec::new());
    for entry in records {
        let start = value.len();
        value = postcard::to_extend(entry, value).context("record cannot be written")?;
        if start > 0 && value.len() > ROOM {
            let last = value.split_off(start);
            values.push(seal(&std::mem::replace(&mut value, last)));
        }
    }
    if !value.is_empty() {
        values.push(seal(&value));
    }
    Ok(values)
}

/// Adds the records that a value holds.
pub(crate) fn unpack(value: &[u8], records: &mut Vec<(NodeId, NodeRecord)>) -> Result<()> {
    let mut rest = unseal(value)?;
    while !rest.is_empty() {
        let ((node, record), left) =
            postcard::take_from_bytes::<(&str, _)>(rest).context("record cannot be read")?;
        records.push((NodeId::from(node), record));
        rest = left;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RunId, Status};
    use jiff::Timestamp;

    #[test]
    fn how_a_record_is_written_is_part_of_the_schema() -> Result<()> {
        let record = NodeRecord {
            status: Status::Interrupted,
            fingerprint: Some(1),
            run: RunId(2),
            attempts: 3,
            millis: None,
            at: Timestamp::from_millisecond(2)?,
        };
        let value = pack(&[(NodeId::from("a/b"), record)])?;
        assert_eq!(unseal(&value[0])?, [3, b'a', b'/', b'b', 4, 1, 1, 2, 3, 0, 4]);
        Ok(())
    }

    #[test]
    fn records_come_back_in_their_order_however_many_values_they_fill() -> Result<()> {
        let record = |number: u64| NodeRecord {
            status: Status::Done,
            fingerprint: Some(u64::MAX - number),
            run: RunId(3),
            attempts: 2,
            millis: number.checked_sub(1),
            at: Timestamp::from_millisecond(1_790_000_000_123).expect("a time"),
        };
        let long = "n".repeat(ROOM);
        let name =
            |number| if number == 7 { NodeId::new("host", &long) } else { NodeId::new("host", "bridge") };
        for count in [0, 1, 500] {
            let records: Vec<_> = (0..count).map(|number| (name(number), record(number))).collect();
            let values = pack(&records)?;
            assert!(
                values.iter().filter(|value| value.len() > ROOM + 6).count() <= 1,
                "only what fills one alone"
            );
            assert!(values.len() <= 3 + records.len() / 50, "{} values", values.len());
            let mut back = Vec::new();
            values.iter().try_for_each(|value| unpack(value, &mut back))?;
            assert_eq!(back, records);
        }
        assert!(unpack(&seal(b"no records"), &mut Vec::new()).is_err());
        Ok(())
    }
}
