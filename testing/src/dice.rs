//! Random numbers that are the same in every run.

/// A small random generator (SplitMix64). Its state is one word, without a pointer: a test that
/// failed can be repeated from its seed.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The generator of the sequence that belongs to `seed`.
    pub fn new(seed: impl Integer) -> Dice {
        Dice(seed.to_u64())
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number from 0 to `sides - 1`.
    pub fn roll<N: Integer>(&mut self, sides: N) -> N {
        N::from_u64(self.bits() % sides.to_u64())
    }

    /// Overwrites all of `buffer` with random bytes.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.bits().to_ne_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// The types that tests number things with. Values are not negative.
pub trait Integer {
    /// The same number as a `u64`.
    fn to_u64(self) -> u64;

    /// The same number as a `Self`, which has room for it.
    fn from_u64(number: u64) -> Self;
}

macro_rules! integers {
    ($($type:ty),*) => {
        $(impl Integer for $type {
            fn to_u64(self) -> u64 {
                self as u64
            }

            fn from_u64(number: u64) -> $type {
                number as $type
            }
        })*
    };
}

// `i32` is what a literal is if nothing says otherwise.
integers!(i32, u32, u64, usize);
