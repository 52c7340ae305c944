//! Growing and zeroed vectors: realloc, large blocks, `alloc_zeroed`.

use core::hint::black_box;
use std::collections::VecDeque;

use fastrand::Rng;

use super::Done;
use crate::block::broken;
use crate::measure::Meter;
use crate::random::log_uniform;

/// Vectors that grow side by side in `vecgrow`.
const VECTOR_COUNT: usize = 64;

/// Elements pushed to one vector before the next one's turn.
const CHUNK_LEN: u64 = 256;

/// One in this number of pages of a zeroed vector is touched.
const PAGES_PER_TOUCH: usize = 16;

/// Bytes between two touches of a zeroed vector, pages of 4 KiB.
const TOUCH_STEP_BYTES: usize = PAGES_PER_TOUCH * 4_096;

/// Zeroed vectors alive at once.
const ZEROED_ALIVE: usize = 8;

/// A vector of `vecgrow` and the length at which it is dropped.
struct Growing {
    values: Vec<u64>,
    target_len: u64,
}

impl Growing {
    fn new(rng: &mut Rng) -> Self {
        Self { values: Vec::new(), target_len: u64::from(log_uniform(rng, 16.0, 1_048_576.0)) }
    }

    /// Pushes up to one chunk; true once the target is reached.
    fn grow(&mut self) -> bool {
        let len = self.values.len() as u64;
        let until = self.target_len.min(len + CHUNK_LEN);
        for value in len..until {
            self.values.push(black_box(value));
        }
        until == self.target_len
    }

    /// First, middle and last element; [`broken`] where growing lost one.
    fn check(&self) -> u64 {
        let last = self.values.len() - 1;
        let middle = last / 2;
        let found = [self.values[0], self.values[middle], self.values[last]];
        if found != [0, middle as u64, last as u64] {
            broken(format_args!(
                "a vector of {} elements reads {found:?} at 0, {middle}, {last}",
                last + 1
            ));
        }
        self.values.iter().fold(0, |sum, value| sum.wrapping_add(*value))
    }
}

/// `vecgrow`: 64 `Vec<u64>` growing side by side, dropped at log-uniform lengths; one operation is one push.
pub(super) fn vec_grow(scale: u64, meter: &mut Meter) -> Done {
    let wanted = 60_000_000 / scale;
    let mut rng = Rng::with_seed(0x7EC);
    let (operations, checksum) = meter.time(|| {
        let mut vectors: Vec<Growing> = (0..VECTOR_COUNT).map(|_| Growing::new(&mut rng)).collect();
        let (mut pushes, mut sum) = (0_u64, 0_u64);
        while pushes < wanted {
            for vector in &mut vectors {
                let before = vector.values.len();
                let is_full = vector.grow();
                pushes += (vector.values.len() - before) as u64;
                if is_full {
                    sum = sum.wrapping_add(vector.check());
                    *vector = Growing::new(&mut rng);
                }
            }
        }
        (pushes, sum)
    });
    Done { operations, checksum }
}

/// `giantvec`: one `Vec<u64>` pushed to 1 GiB.
pub(super) fn giant_vec(scale: u64, meter: &mut Meter) -> Done {
    let operations = (1 << 30) / 8 / scale;
    let checksum = meter.time(|| {
        let mut values: Vec<u64> = Vec::new();
        for value in 0..operations {
            values.push(black_box(value));
        }
        let step = 4_096 / 8;
        for (place, &value) in values.iter().enumerate().step_by(step) {
            if value != place as u64 {
                broken(format_args!("element {place} of a growing vector reads {value}"));
            }
        }
        values.iter().step_by(step).fold(0_u64, |sum, value| sum.wrapping_add(*value))
    });
    Done { operations, checksum }
}

/// `zeroed`: `vec![0u8; n]`, eight alive, one page in 16 touched; one operation is one vector.
pub(super) fn zeroed(scale: u64, meter: &mut Meter) -> Done {
    let operations = (400 / scale).max(16);
    let mut rng = Rng::with_seed(0x2E0);
    let checksum = meter.time(|| {
        let mut alive: VecDeque<Vec<u8>> = VecDeque::with_capacity(ZEROED_ALIVE + 1);
        let mut sum = 0_u64;
        for _ in 0..operations {
            let len = log_uniform(&mut rng, 4_096.0, 67_108_864.0) as usize;
            let mut bytes = vec![0_u8; black_box(len)];
            for offset in (0..len).step_by(TOUCH_STEP_BYTES) {
                if bytes[offset] != 0 {
                    broken(format_args!(
                        "byte {offset} of a zeroed vector of {len} is {:#04x}",
                        bytes[offset]
                    ));
                }
                bytes[offset] = 0xA5;
            }
            sum = sum.wrapping_add(len as u64 + u64::from(bytes[0]));
            alive.push_back(bytes);
            if alive.len() > ZEROED_ALIVE {
                alive.pop_front();
            }
        }
        sum
    });
    Done { operations, checksum }
}
