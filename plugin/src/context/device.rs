//! What kinds compute on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The device a run computes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// A CUDA device by number.
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => formatter.write_str("cpu"),
            Device::Cuda(number) => write!(formatter, "cuda:{number}"),
        }
    }
}

/// The devices that a run may compute on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Devices {
    /// The processor.
    #[default]
    Cpu,
    /// CUDA devices by number; each is used by one instance at a time.
    Cuda(Vec<usize>),
}

impl From<Device> for Devices {
    fn from(device: Device) -> Self {
        match device {
            Device::Cpu => Self::Cpu,
            Device::Cuda(number) => Self::Cuda(vec![number]),
        }
    }
}

impl Devices {
    /// One of them, as far as kind and class go.
    pub fn any(&self) -> Device {
        match self {
            Self::Cpu => Device::Cpu,
            Self::Cuda(numbers) => Device::Cuda(numbers.first().copied().unwrap_or_default()),
        }
    }
}

impl Device {
    /// The part that identity holds.
    pub fn kind(self) -> &'static str {
        match self {
            Device::Cpu => "cpu",
            Device::Cuda(_) => "cuda",
        }
    }

    /// The fine class under which results are stored.
    pub fn class(self) -> String {
        match self {
            Device::Cpu => cpu_class(),
            Device::Cuda(_) => "cuda".to_string(),
        }
    }
}

/// Processors that give the same bits: all of x86-64 with AVX2 and fused multiply-add, whatever their registers and caches. What a
/// program gives that was compiled for more than the least of them, nobody has compared.
fn cpu_class() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        let has_fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let class = match (has_fma, cfg!(target_feature = "avx")) {
            (true, false) => "cpu",
            (true, true) => "cpu/native",
            (false, _) => "cpu/no-fma",
        };
        class.to_string()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        format!("cpu/{}", std::env::consts::ARCH)
    }
}
