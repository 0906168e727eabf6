//! Work on several processors, with results in order.

/// Does something with pieces of a slice, `workers` of them at once at most.
pub fn pieces<T: Sync, R: Send>(
    workers: usize,
    items: &[T],
    work: impl Fn(&[T]) -> R + Sync,
) -> Vec<R> {
    let length = items.len().div_ceil(workers.max(1)).max(1);
    if length >= items.len() {
        return vec![work(items)];
    }
    std::thread::scope(|scope| {
        let work = &work;
        let start = |piece| scope.spawn(move || work(piece));
        let threads: Vec<_> = items.chunks(length).map(start).collect();
        let results = threads.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        results.collect()
    })
}
