//! The engine's devices as candle names them.

use candle_core::Device as CandleDevice;
use pipe_engine::context::Device;
use pipe_engine::stage::StageError;

/// The device as candle names it; one that this build cannot use is an error, never another device.
pub(crate) fn candle_device(device: Device) -> Result<CandleDevice, StageError> {
    match device {
        Device::Cpu => Ok(CandleDevice::Cpu),
        Device::Cuda(_) => {
            Err(StageError::message("this build has no CUDA support").advise("run with --device cpu"))
        }
    }
}
