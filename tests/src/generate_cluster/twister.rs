//! The random numbers of Python's `random`: the same draws for the same seed, so that a cluster that was once
//! made by a script in Python can be made again.
//!
//! It is the Mersenne Twister (MT19937, Matsumoto and Nishimura), seeded by words of a text and its SHA-512.

use sha2::{Digest, Sha512};
use std::f64::consts::TAU;

const SIZE: usize = 624;
const SHIFT: usize = 397;

/// See the module.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u32; SIZE],
    at: usize,
    /// Normal numbers are made in pairs: the other one.
    spare: Option<f64>,
}

impl Random {
    /// As `random.Random(text)`.
    pub fn new(seed: &str) -> Random {
        let mut bytes = seed.as_bytes().to_vec();
        bytes.extend_from_slice(&Sha512::digest(seed.as_bytes()));
        // One large number: its words, the lowest first, without leading zeros.
        let mut key: Vec<u32> = bytes
            .rchunks(4)
            .map(|chunk| chunk.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)))
            .collect();
        while key.len() > 1 && key.last() == Some(&0) {
            key.pop();
        }
        Random { state: scramble(&key), at: SIZE, spare: None }
    }

    fn word(&mut self) -> u32 {
        if self.at == SIZE {
            self.refill();
        }
        let mut word = self.state[self.at];
        self.at += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn refill(&mut self) {
        for at in 0..SIZE {
            let (this, next) = (self.state[at], self.state[(at + 1) % SIZE]);
            let mixed = (this & 0x8000_0000) | (next & 0x7fff_ffff);
            let odd = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[at] = self.state[(at + SHIFT) % SIZE] ^ (mixed >> 1) ^ odd;
        }
        self.at = 0;
    }

    /// From 0 up to, but not, 1: 53 random bits.
    pub fn unit(&mut self) -> f64 {
        let (high, low) = (self.word() >> 5, self.word() >> 6);
        (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0
    }

    /// One of the numbers below `count`, which is between 1 and 2^32 - 1.
    pub fn below(&mut self, count: usize) -> usize {
        let bits = usize::BITS - count.leading_zeros();
        loop {
            let number = (self.word() >> (32 - bits)) as usize;
            if number < count {
                return number;
            }
        }
    }

    /// One of a list, which is not empty.
    pub fn choice<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// The position of one of a list with these weights, which is not empty.
    pub fn weighted(&mut self, weights: impl IntoIterator<Item = f64>) -> usize {
        let mut total = 0.0;
        let sums: Vec<f64> = weights
            .into_iter()
            .map(|weight| {
                total += weight;
                total
            })
            .collect();
        let drawn = self.unit() * total;
        sums.partition_point(|sum| *sum <= drawn).min(sums.len() - 1)
    }

    /// Some of a list, each once, in random order.
    pub fn sample<T: Copy>(&mut self, list: &[T], count: usize) -> Vec<T> {
        // Python looks which way takes less memory; the draws differ.
        let mut set_size = 21;
        if count > 5 {
            set_size += 4_usize.pow(((count * 3) as f64).log(4.0).ceil() as u32);
        }
        if list.len() <= set_size {
            let mut pool = list.to_vec();
            return (0..count)
                .map(|_| {
                    let at = self.below(pool.len());
                    pool.swap_remove(at)
                })
                .collect();
        }
        let mut taken: Vec<usize> = vec![];
        while taken.len() < count {
            let at = self.below(list.len());
            if !taken.contains(&at) {
                taken.push(at);
            }
        }
        taken.into_iter().map(|at| list[at]).collect()
    }

    /// Normally distributed.
    pub fn gauss(&mut self, mean: f64, deviation: f64) -> f64 {
        let normal = self.spare.take().unwrap_or_else(|| {
            let angle = self.unit() * TAU;
            let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
            self.spare = Some(angle.sin() * radius);
            angle.cos() * radius
        });
        mean + normal * deviation
    }

    /// Between two numbers.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }
}

/// The state for a key, as MT19937's authors make it.
fn scramble(key: &[u32]) -> [u32; SIZE] {
    let mut state = [0; SIZE];
    state[0] = 19_650_218_u32;
    for at in 1..SIZE {
        let before = state[at - 1];
        state[at] = 1_812_433_253_u32.wrapping_mul(before ^ (before >> 30)).wrapping_add(at as u32);
    }
    let (mut at, mut word) = (1, 0);
    let wrap = |state: &mut [u32; SIZE], at: &mut usize| {
        *at += 1;
        if *at >= SIZE {
            state[0] = state[SIZE - 1];
            *at = 1;
        }
    };
    for _ in 0..SIZE.max(key.len()) {
        let before = state[at - 1];
        let mixed = state[at] ^ (before ^ (before >> 30)).wrapping_mul(1_664_525);
        state[at] = mixed.wrapping_add(key[word]).wrapping_add(word as u32);
        wrap(&mut state, &mut at);
        word = (word + 1) % key.len();
    }
    for _ in 1..SIZE {
        let before = state[at - 1];
        let mixed = state[at] ^ (before ^ (before >> 30)).wrapping_mul(1_566_083_941);
        state[at] = mixed.wrapping_sub(at as u32);
        wrap(&mut state, &mut at);
    }
    state[0] = 0x8000_0000;
    state
}

#[cfg(test)]
mod tests {
    use super::Random;

    const UNITS: [f64; 3] = [0.49474798226221894, 0.6248517543357173, 0.6914312250079084];
    const BELOW: [usize; 8] = [7, 9, 2, 9, 3, 9, 8, 2];
    const WEIGHTED: usize = 2;
    const SAMPLE: [usize; 6] = [7, 4, 1, 5, 3, 8];
    const LARGE_SAMPLE: [usize; 4] = [11, 32, 51, 22];
    const GAUSS: [f64; 2] = [-1.4940663790315412, -0.5240190566440448];
    const UNIFORM: f64 = 0.23480409610549088;
    const CHOICE: i32 = 9;

    #[test]
    fn draws_are_pythons() {
        // random.Random("1/1"), in this order.
        let mut random = Random::new("1/1");
        let units: Vec<f64> = (0..3).map(|_| random.unit()).collect();
        assert_eq!(units, UNITS);
        let numbers: Vec<usize> = (0..8).map(|_| random.below(10)).collect();
        assert_eq!(numbers, BELOW);
        assert_eq!(random.weighted([1.0, 2.0, 3.0]), WEIGHTED);
        assert_eq!(random.sample(&[0, 1, 2, 3, 4, 5, 6, 7, 8], 6), SAMPLE);
        let many: Vec<usize> = (0..100).collect();
        assert_eq!(random.sample(&many, 4), LARGE_SAMPLE);
        assert_eq!([random.gauss(0.0, 1.2), random.gauss(0.0, 1.2)], GAUSS);
        assert_eq!(random.uniform(0.1, 2.0), UNIFORM);
        assert_eq!(random.choice(&[7, 8, 9]), CHOICE);
    }
}
