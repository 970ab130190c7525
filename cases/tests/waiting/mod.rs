//! Threads for runs on the reference, which mostly wait: several for each CPU.

/// A pool that keeps busy CPUs busy.
pub(crate) fn pool() -> rayon::ThreadPool {
    let threads = 4 * std::thread::available_parallelism().map_or(1, usize::from);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started")
}
