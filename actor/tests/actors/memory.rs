//! What a service at rest costs.

use crate::{Append, List};
use narrowboat::actor::{Address, System};
use narrowboat_testing::{in_child, memory, program, sized};

#[test]
fn a_service_at_rest_takes_some_hundred_bytes() {
    let Some(output) = in_child("memory::a_service_at_rest_takes_some_hundred_bytes") else {
        return program(|| {
            let system = System::builder().no_watchdog().build();
            let count = sized(200_000, 50_000);
            let spawn = |count| (0..count).map(|_| system.spawn(List::default())).collect::<Vec<_>>();
            // The runtime and the allocator have started when this has run.
            let call = |lists: &[Address<List>]| {
                for list in lists {
                    list.call(Append(1)).unwrap();
                }
            };
            call(&spawn(100));
            let before = memory("VmRSS");
            let lists = spawn(count);
            let fresh = (memory("VmRSS") - before) / count;
            call(&lists);
            let used = (memory("VmRSS") - before) / count;
            println!("{fresh} bytes each, and {used} when each has handled a message");
            assert!(fresh <= 512 && used <= 768, "{fresh} and {used} bytes each");
        });
    };
    narrowboat_testing::assert_passed(&output, 1);
    print!("{}", String::from_utf8_lossy(&output.stdout));
}
