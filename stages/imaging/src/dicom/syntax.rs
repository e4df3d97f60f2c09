//! Transfer syntaxes: how a file encodes its elements and compresses its pixels.

use dicom_dictionary_std::uids;

use super::elements::Encoding;
use super::error::FileError;

/// Retired from the standard in 2006, and in archives all the same.
const EXPLICIT_VR_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// The transfer syntaxes that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    ImplicitLittle,
    ExplicitLittle,
    ExplicitBig,
    Deflated,
    Rle,
    JpegLossless,
    Jpeg2000,
    #[cfg(feature = "jpeg-ls")]
    JpegLs,
}

impl Syntax {
    /// Which one a UID names.
    pub fn from_uid(uid: &str) -> Result<Self, FileError> {
        Ok(match uid {
            uids::IMPLICIT_VR_LITTLE_ENDIAN => Self::ImplicitLittle,
            uids::EXPLICIT_VR_LITTLE_ENDIAN => Self::ExplicitLittle,
            EXPLICIT_VR_BIG_ENDIAN => Self::ExplicitBig,
            uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN => Self::Deflated,
            uids::RLE_LOSSLESS => Self::Rle,
            uids::JPEG_LOSSLESS | uids::JPEG_LOSSLESS_SV1 => Self::JpegLossless,
            uids::JPEG2000_LOSSLESS | uids::JPEG2000 => Self::Jpeg2000,
            uids::JPEGLS_LOSSLESS => Self::jpeg_ls(uids::JPEGLS_LOSSLESS, "JPEG-LS lossless")?,
            uids::JPEGLS_NEAR_LOSSLESS => Self::jpeg_ls(uids::JPEGLS_NEAR_LOSSLESS, "JPEG-LS near-lossless")?,
            _ => return Err(FileError::TransferSyntax { uid: printable(uid) }),
        })
    }

    #[cfg(feature = "jpeg-ls")]
    fn jpeg_ls(_: &'static str, _: &'static str) -> Result<Self, FileError> {
        Ok(Self::JpegLs)
    }

    #[cfg(not(feature = "jpeg-ls"))]
    fn jpeg_ls(uid: &'static str, name: &'static str) -> Result<Self, FileError> {
        Err(FileError::Feature { uid, name, feature: "jpeg-ls" })
    }

    /// How the data set is encoded.
    pub fn encoding(self) -> Encoding {
        match self {
            Self::ImplicitLittle => Encoding::ImplicitLittle,
            Self::ExplicitBig => Encoding::ExplicitBig,
            _ => Encoding::ExplicitLittle,
        }
    }

    /// Whether pixels are in fragments.
    pub fn is_encapsulated(self) -> bool {
        !matches!(self, Self::ImplicitLittle | Self::ExplicitLittle | Self::ExplicitBig | Self::Deflated)
    }
}

/// What a UID may consist of, so that nothing else of a file gets into a message.
fn printable(uid: &str) -> String {
    uid.chars().filter(|character| matches!(character, '0'..='9' | '.')).take(64).collect()
}
