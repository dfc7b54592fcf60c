import CCurl

/// How this process keeps memory that it no longer uses.
package enum Heap {
    /// Has the C library give memory back to the system soon, and share it between threads.
    ///
    /// By its own choice it keeps a heap for each thread, and the more the larger the blocks that were freed once:
    /// a start with 10 000 endpoints would count for ever. Called before there are threads (mallopt(3)).
    package static func beModest() {
        _ = mallopt(M_ARENA_MAX, 2)
        // With less, work that goes on for long would ask the system for the same memory again and again.
        _ = mallopt(M_TRIM_THRESHOLD, 1 << 20)
        _ = mallopt(M_MMAP_THRESHOLD, 1 << 20)
    }

    /// Gives back what is unused now; takes milliseconds where there is much of it (malloc_trim(3)).
    package static func trim() {
        _ = malloc_trim(0)
    }
}
