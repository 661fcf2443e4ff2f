//! Profiles of waits: how long goroutines have waited, by the place that waits, and for locks by the
//! place that has released them.

use crate::profile::Profile;
use narrowboat_runtime::blocking;
use narrowboat_runtime::window::{self, Frame, Names, WaitPlace, WaitProfile, is_internal, up_to_the_root};
use narrowboat_sync::Mutex;
use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

const CONTENTIONS: (&str, &str) = ("contentions", "count");
const DELAY: (&str, &str) = ("delay", "nanoseconds");

/// Rates while a client waits for a profile that is switched off.
const BLOCK_MEANWHILE: u64 = 10_000;
const MUTEX_MEANWHILE: u64 = 1;

/// Sets how much the profile of blocking counts: one wait for each `period` of waiting, on average.
/// [`Duration::ZERO`] switches it off, as it is at first. Returns what was set before.
///
/// A wait that lasts longer than the period is always counted. Counting takes the backtrace of the
/// goroutine: about a microsecond. While the profile is on, each wait costs some hundred
/// nanoseconds more; while it is off, none does. As Go's `runtime.SetBlockProfileRate`.
///
/// ```
/// use narrowboat::diag::set_block_profile_rate;
/// use std::time::Duration;
///
/// set_block_profile_rate(Duration::from_micros(10));
/// assert_eq!(set_block_profile_rate(Duration::ZERO), Duration::from_micros(10));
/// ```
pub fn set_block_profile_rate(period: Duration) -> Duration {
    let rate = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(window::set_wait_profile(WaitProfile::Block, rate))
}

/// Sets how much the profile of locks counts: one of `fraction` waits for a lock, on average. 0
/// switches it off, as it is at first. Returns what was set before.
///
/// As Go's `runtime.SetMutexProfileFraction`; the locks are those of `narrowboat::sync`.
///
/// ```
/// use narrowboat::diag::set_mutex_profile_fraction;
///
/// set_mutex_profile_fraction(5);
/// assert_eq!(set_mutex_profile_fraction(0), 5);
/// ```
pub fn set_mutex_profile_fraction(fraction: u32) -> u32 {
    window::set_wait_profile(WaitProfile::Mutex, fraction.into()) as u32
}

/// A profile since the start of the program; or, while this lives, of the time since it was made.
pub(crate) struct Waits {
    profile: WaitProfile,
    before: HashMap<WaitPlace, (u64, u64)>,
    _on: Option<On>,
}

/// The clients that need a profile which was off when the first of them came.
static NEED: Mutex<[usize; 2]> = Mutex::new([0; 2]);

/// Keeps a profile switched on. The last one to go switches it off, if it was off before the first.
struct On(WaitProfile);

fn meanwhile(profile: WaitProfile) -> u64 {
    match profile {
        WaitProfile::Block => BLOCK_MEANWHILE,
        WaitProfile::Mutex => MUTEX_MEANWHILE,
    }
}

impl On {
    /// `None` if the program itself has switched the profile on.
    fn begin(profile: WaitProfile) -> Option<On> {
        let mut need = NEED.lock().unwrap_or_else(PoisonError::into_inner);
        let need = &mut need[profile as usize];
        if *need == 0 {
            let rate = window::set_wait_profile(profile, meanwhile(profile));
            if rate != 0 {
                window::set_wait_profile(profile, rate);
                return None;
            }
        }
        *need += 1;
        Some(On(profile))
    }
}

impl Drop for On {
    fn drop(&mut self) {
        let mut need = NEED.lock().unwrap_or_else(PoisonError::into_inner);
        let need = &mut need[self.0 as usize];
        *need -= 1;
        if *need == 0 {
            let rate = window::set_wait_profile(self.0, 0);
            // The program has set a rate of its own since.
            if rate != meanwhile(self.0) {
                window::set_wait_profile(self.0, rate);
            }
        }
    }
}

impl Waits {
    /// Since the start of the program.
    pub(crate) fn all(profile: WaitProfile) -> Waits {
        Waits { profile, before: HashMap::new(), _on: None }
    }

    /// From now on. A profile that is off is switched on meanwhile.
    pub(crate) fn from_now(profile: WaitProfile) -> Waits {
        let on = On::begin(profile);
        let before = window::waits(profile).into_iter().collect();
        Waits { profile, before, _on: on }
    }

    /// The profile, compressed.
    pub(crate) fn profile(&self, lasted: Duration) -> Vec<u8> {
        let mut found = window::waits(self.profile);
        for (place, (count, time)) in &mut found {
            if let Some((count_before, time_before)) = self.before.get(place) {
                *count -= count_before;
                *time -= time_before;
            }
        }
        found.retain(|(_, (count, _))| *count > 0);
        blocking(move || {
            let mut profile = Profile::new(&[CONTENTIONS, DELAY], (CONTENTIONS, 1));
            let mut names = Names::default();
            for (place, (count, time)) in &found {
                let frames: Vec<Frame> =
                    place.frames.iter().flat_map(|&address| names.of(address).to_vec()).collect();
                // What is before the program's own call is the runtime's.
                let first = frames.iter().position(|frame| !is_internal(frame)).unwrap_or(0);
                let frames = up_to_the_root(&frames[first..]);
                let labels = [("waits for", place.waits_for), ("waits at", &*place.waits_at.to_string())];
                profile.sample(&[*count, *time], frames, &labels);
            }
            names.forget_symbols();
            profile.finish(lasted)
        })
    }
}
