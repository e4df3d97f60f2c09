//! Small DICOM files, written by dicom-object.

use dicom_core::value::{DataSetSequence, PixelFragmentSequence};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use pipe_imaging::dicom::{Content, SeriesFile};

pub const PATIENT: &str = "Doe^Jane Secret";
pub const EXPLICIT_BIG: &str = "1.2.840.10008.1.2.2";
pub const COLUMNS: u16 = 4;
pub const ROWS: u16 = 3;
/// Pixels of a slice.
pub const PIXELS: usize = COLUMNS as usize * ROWS as usize;

/// A file under construction: its data set and its transfer syntax.
#[derive(Clone)]
pub struct File {
    pub data: InMemDicomObject,
    pub syntax: &'static str,
}

/// Stored values of slice `index`, of a range that 12 signed bits hold.
pub fn stored(index: usize) -> Vec<i16> {
    (0..PIXELS).map(|pixel| (index * 100 + pixel * 7) as i16 - 300).collect()
}

impl File {
    /// An axial slice at `z` mm with pixels of 16 signed bits, slope 1 and intercept −1024.
    pub fn slice(index: usize, z: f64) -> Self {
        let mut file = Self { data: InMemDicomObject::new_empty(), syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN };
        file.text(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE)
            .text(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3.4")
            .text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\AXIAL")
            .text(tags::PATIENT_NAME, VR::PN, PATIENT)
            .text(tags::PATIENT_ID, VR::LO, PATIENT)
            .text(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3")
            .text(tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2.5")
            .text(tags::SLICE_THICKNESS, VR::DS, "2.5")
            .text(tags::IMAGE_POSITION_PATIENT, VR::DS, &format!("-10\\20\\{z}"))
            .text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\1\\0")
            .text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2")
            .text(tags::PIXEL_SPACING, VR::DS, "0.75\\0.5")
            .text(tags::RESCALE_SLOPE, VR::DS, "1")
            .text(tags::RESCALE_INTERCEPT, VR::DS, "-1024")
            .short(tags::SAMPLES_PER_PIXEL, 1)
            .short(tags::ROWS, ROWS)
            .short(tags::COLUMNS, COLUMNS)
            .short(tags::BITS_ALLOCATED, 16)
            .short(tags::BITS_STORED, 16)
            .short(tags::HIGH_BIT, 15)
            .short(tags::PIXEL_REPRESENTATION, 1);
        file.words(stored(index).into_iter().map(i16::cast_unsigned));
        file
    }

    pub fn put(&mut self, tag: Tag, vr: VR, value: PrimitiveValue) -> &mut Self {
        self.data.put(DataElement::new(tag, vr, value));
        self
    }

    pub fn text(&mut self, tag: Tag, vr: VR, value: &str) -> &mut Self {
        self.put(tag, vr, value.into())
    }

    pub fn short(&mut self, tag: Tag, value: u16) -> &mut Self {
        self.put(tag, VR::US, value.into())
    }

    pub fn without(&mut self, tag: Tag) -> &mut Self {
        self.data.remove_element(tag);
        self
    }

    /// Pixels of 16 bits.
    pub fn words(&mut self, words: impl IntoIterator<Item = u16>) -> &mut Self {
        self.put(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(words.into_iter().collect()))
    }

    /// Stored bits and sign.
    pub fn bits(&mut self, allocated: u16, stored: u16, high: u16, signed: bool) -> &mut Self {
        self.short(tags::BITS_ALLOCATED, allocated)
            .short(tags::BITS_STORED, stored)
            .short(tags::HIGH_BIT, high)
            .short(tags::PIXEL_REPRESENTATION, u16::from(signed))
    }

    /// Encapsulated pixel data.
    pub fn fragments(
        &mut self,
        syntax: &'static str,
        offsets: Vec<u32>,
        fragments: Vec<Vec<u8>>,
    ) -> &mut Self {
        let sequence = PixelFragmentSequence::new(offsets, fragments);
        self.data.put(DataElement::new(tags::PIXEL_DATA, VR::OB, sequence));
        self.syntax = syntax;
        self
    }

    /// A sequence of items.
    pub fn sequence(&mut self, tag: Tag, items: Vec<InMemDicomObject>) -> &mut Self {
        self.data.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
        self
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes_of_class(uids::CT_IMAGE_STORAGE)
    }

    /// The bytes of the file with another class in its file meta information.
    pub fn bytes_of_class(&self, class: &str) -> Vec<u8> {
        let meta = FileMetaTableBuilder::new()
            .media_storage_sop_class_uid(class)
            .media_storage_sop_instance_uid("1.2.3.4")
            .transfer_syntax(self.syntax);
        let mut bytes = Vec::new();
        let object = self.data.clone().with_meta(meta).expect("complete");
        object.write_all(&mut bytes).expect("writes to memory");
        bytes
    }

    /// The file under a name.
    pub fn named(&self, name: &str) -> SeriesFile {
        named(name, self.bytes())
    }
}

pub fn named(name: &str, bytes: Vec<u8>) -> SeriesFile {
    SeriesFile { name: name.to_owned(), content: Content::Bytes(bytes) }
}

/// A data set with one text in one sequence item: a functional group.
pub fn group(item: &mut InMemDicomObject, sequence: Tag, values: &[(Tag, &str)]) {
    let mut inner = InMemDicomObject::new_empty();
    for &(tag, value) in values {
        inner.put(DataElement::new(tag, VR::DS, PrimitiveValue::from(value)));
    }
    item.put(DataElement::new(sequence, VR::SQ, DataSetSequence::from(vec![inner])));
}
