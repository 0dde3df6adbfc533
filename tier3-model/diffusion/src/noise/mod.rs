//! Noise by seed: the numbers that a picture starts from, the same on every machine.
//!
//! [`Noise`] is one stream of standard normal numbers. Where it comes from is the caller's choice: torch's generator
//! on the CPU, or what NVIDIA's GPUs draw, computed here. It draws nothing by itself: the same seed gives the same
//! stream, up to the last bits of the machine's logarithm and cosine.

mod mt19937;
mod philox;

use crate::request::NoiseSource;

use mt19937::TorchCpu;
use philox::PhiloxNv;

/// A stream of standard normal numbers.
///
/// How a stream is cut into draws matters, as it does in torch: two draws of 8 numbers are not one of 16.
#[derive(Clone, Debug)]
pub struct Noise(Stream);

#[derive(Clone, Debug)]
enum Stream {
    TorchCpu(Box<TorchCpu>),
    PhiloxNv(PhiloxNv),
}

impl Noise {
    /// The stream of `seed`; `None` for [`NoiseSource::Gpu`], whose numbers only that GPU can draw.
    #[must_use]
    pub fn new(source: NoiseSource, seed: u32) -> Option<Self> {
        match source {
            NoiseSource::Cpu => Some(Self(Stream::TorchCpu(Box::new(TorchCpu::new(seed))))),
            NoiseSource::Nv => Some(Self(Stream::PhiloxNv(PhiloxNv::new(seed)))),
            NoiseSource::Gpu => None,
        }
    }

    /// The next draw: as `torch.randn(len)` would give it.
    pub fn draw(&mut self, len: usize) -> Vec<f32> {
        match &mut self.0 {
            Stream::TorchCpu(stream) => stream.randn(len),
            Stream::PhiloxNv(stream) => stream.randn(len),
        }
    }
}
