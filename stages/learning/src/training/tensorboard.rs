//! History as TensorBoard reads it: records of `Event` messages with one scalar for each tag.
//!
//! A record is a length, its masked CRC-32C, the message and its masked CRC-32C (TFRecord); a message is protocol
//! buffers' wire format (tensorflow/core/util/event.proto, framework/summary.proto), of which scalars need four
//! fields. The clock comes from the caller. The groups of tags, and `Loss/train…`, are
//! those of the published training; the names within the other groups are this project's.

use super::epoch::{HistoryRow, Summary};

/// What CRCs are masked with, so that records within records are told apart.
const MASK: u32 = 0xa282_ead8;
/// Wire types: a number of 64 bits, of variable length, bytes, a number of 32 bits.
const FIXED_64: u8 = 1;
const VARIABLE: u8 = 0;
const BYTES: u8 = 2;
const FIXED_32: u8 = 5;

/// The first record of a file.
pub fn header(seconds: f64) -> Vec<u8> {
    let mut event = field(1, FIXED_64, &seconds.to_le_bytes());
    event.extend(bytes_field(3, b"brain.Event:2"));
    record(&event)
}

/// An epoch's record, written at a time in seconds since 1970.
pub fn epoch(row: &HistoryRow, seconds: f64) -> Vec<u8> {
    let mut values = Vec::new();
    for (tag, value) in scalars(row) {
        let mut one = bytes_field(1, tag.as_bytes());
        one.extend(field(2, FIXED_32, &(value as f32).to_le_bytes()));
        values.extend(bytes_field(1, &one));
    }
    let mut event = field(1, FIXED_64, &seconds.to_le_bytes());
    event.extend(field(2, VARIABLE, &variable(u64::from(row.epoch))));
    event.extend(bytes_field(5, &values));
    record(&event)
}

/// Every number of an epoch by its tag.
fn scalars(row: &HistoryRow) -> Vec<(String, f64)> {
    let mut scalars = vec![("logit_scale".to_owned(), f64::from(row.logit_scale))];
    for (part, summary) in [("train", row.train), ("val", row.validation)] {
        let Summary { loss, clip, prediction, image, text, .. } = summary;
        let losses = [("", loss), ("_clip", clip), ("_pred", prediction), ("_img", image), ("_text", text)];
        scalars.extend(losses.map(|(name, value)| (format!("Loss/{part}{name}"), value)));
        for (name, accuracy, auroc, auprc) in [
            ("img", summary.image_accuracy, summary.image_auroc, summary.image_auprc),
            ("text", summary.text_accuracy, summary.text_auroc, summary.text_auprc),
        ] {
            scalars.push((format!("Acc/{part}_{name}"), accuracy));
            scalars.push((format!("AUC/{part}_{name}"), auroc));
            scalars.push((format!("AUPUC/{part}_{name}"), auprc));
        }
    }
    scalars
}

fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(message);
    record.extend(masked_crc(message).to_le_bytes());
    record
}

fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(MASK)
}

fn field(number: u8, wire: u8, value: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | wire];
    field.extend(value);
    field
}

fn bytes_field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut field = field(number, BYTES, &variable(value.len() as u64));
    field.extend(value);
    field
}

/// Seven bits a byte, the lowest first.
fn variable(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_every_event_file() {
        // As tensorboard.summary.writer.event_file_writer writes it at time 0.
        let expected = [
            24, 0, 0, 0, 0, 0, 0, 0, 163, 127, 75, 34, 9, 0, 0, 0, 0, 0, 0, 0, 0, 26, 13, 98, 114, 97, 105,
            110, 46, 69, 118, 101, 110, 116, 58, 50,
        ];
        let found = header(0.0);
        assert_eq!(found[..expected.len()], expected);
        assert_eq!(found.len(), expected.len() + 4);
    }

    #[test]
    fn numbers_of_variable_length_are_seven_bits_a_byte() {
        assert_eq!(variable(0), [0]);
        assert_eq!(variable(127), [127]);
        assert_eq!(variable(300), [0xac, 2]);
    }

    #[test]
    fn an_epoch_names_every_tag_once() {
        let row = HistoryRow {
            epoch: 3,
            logit_scale: 2.5,
            train: Summary::from([0; 11]),
            validation: Summary::from([f64::NAN.to_bits(); 11]),
        };
        let mut tags: Vec<String> = scalars(&row).into_iter().map(|(tag, _)| tag).collect();
        assert_eq!(tags.len(), 1 + 2 * 11);
        let bytes = epoch(&row, 1.0);
        for tag in
            ["Loss/train", "Loss/val_clip", "Acc/train_img", "AUC/val_text", "AUPUC/val_img", "logit_scale"]
        {
            assert!(tags.iter().any(|known| known == tag), "{tag}");
            assert!(bytes.windows(tag.len()).any(|window| window == tag.as_bytes()), "{tag}");
        }
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), 23);
    }
}
