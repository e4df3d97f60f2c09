//! The engine's devices as candle names them.

use candle_core::Device as CandleDevice;
use pipe_plugin::context::Device;
use pipe_plugin::stage::StageError;
use thiserror::Error;

/// Why there is no graphics processor to compute on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CudaError {
    /// The program was built without it.
    #[error("this build of pipe has no CUDA support")]
    NotBuilt,
    /// The driver does not answer, or knows of no device.
    #[error("there is no CUDA device: {0}")]
    NoDevice(String),
}

impl CudaError {
    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::NotBuilt => "run with --device cpu, or build with --features cuda (docs/cuda.md)",
            Self::NoDevice(_) => "run with --device cpu, or look at the driver with nvidia-smi",
        }
    }
}

/// The numbers of the CUDA devices that there are, at least one.
///
/// # Errors
/// [`CudaError`] with advice; another device is never taken instead.
pub fn cuda_devices() -> Result<Vec<usize>, StageError> {
    available().map_err(|error| StageError::message(error.to_string()).advise(error.advice()))
}

fn available() -> Result<Vec<usize>, CudaError> {
    #[cfg(not(feature = "cuda"))]
    return Err(CudaError::NotBuilt);
    #[cfg(feature = "cuda")]
    {
        use candle_core::cuda_backend::cudarc::driver::CudaContext;
        let count = CudaContext::device_count().map_err(|error| CudaError::NoDevice(error.to_string()))?;
        match usize::try_from(count) {
            Ok(count) if count > 0 => Ok((0..count).collect()),
            _ => Err(CudaError::NoDevice("the driver knows none".to_owned())),
        }
    }
}

/// The device as candle names it.
pub(crate) fn candle_device(device: Device) -> Result<CandleDevice, StageError> {
    let Device::Cuda(number) = device else { return Ok(CandleDevice::Cpu) };
    if !cuda_devices()?.contains(&number) {
        return Err(StageError::message(format!("there is no CUDA device {number}")));
    }
    Ok(CandleDevice::new_cuda(number)?)
}
