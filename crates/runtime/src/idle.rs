//! What a process that often has nothing to do does with its memory. It never knows when that is
//! the case.

/// Heaps of a process whose threads mostly wait for the kernel: as many as hold nobody up.
const HEAPS: u16 = 2;

/// Keeps what threads have freed together. Each heap keeps some pages that hold little, and a pool
/// of threads would come to have many heaps: before the first of them begins.
pub fn keep_heaps_few() {
    sys::resident::share_heaps(HEAPS);
}

/// Gives back freed memory and the pages of the program itself, which come back from the page
/// cache as they are used: for a process that is about to wait.
pub fn give_memory_back() {
    sys::resident::trim_memory();
    sys::resident::forget_program();
}
