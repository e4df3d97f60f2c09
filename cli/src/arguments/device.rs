//! What `--device` says.

use pipe_engine::context::Device;

/// What `--device` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceArgument {
    /// The processor.
    #[default]
    Cpu,
    /// All CUDA devices, or the one of that number.
    Cuda(Option<usize>),
}

impl DeviceArgument {
    /// A device of that kind, which is all that a result's identity knows.
    pub(crate) fn kind(self) -> Device {
        match self {
            Self::Cpu => Device::Cpu,
            Self::Cuda(number) => Device::Cuda(number.unwrap_or_default()),
        }
    }
}

/// Reads what `--device` says.
///
/// # Errors
/// What was expected.
pub fn parse_device(text: &str) -> Result<DeviceArgument, String> {
    match text.split_once(':') {
        None if text == "cpu" => Ok(DeviceArgument::Cpu),
        None if text == "cuda" => Ok(DeviceArgument::Cuda(None)),
        Some(("cuda", number)) => match number.parse() {
            Ok(number) => Ok(DeviceArgument::Cuda(Some(number))),
            Err(_) => Err(format!("`{number}` is not a device number")),
        },
        _ => Err("expected cpu, cuda or cuda:N".to_string()),
    }
}
