//! Rounding to units and alignments, without overflow.

/// `value` rounded up to a multiple of `unit` (any number but 0), or `None` where that does not fit.
#[inline]
pub(crate) const fn round_up(value: usize, unit: usize) -> Option<usize> {
    debug_assert!(unit != 0, "a unit is never 0");
    value.checked_next_multiple_of(unit)
}

/// `value` rounded up to a multiple of the power of two `align`, or `None` where that does not fit.
#[inline]
pub(crate) const fn align_up(value: usize, align: usize) -> Option<usize> {
    debug_assert!(align.is_power_of_two(), "an alignment is a power of two");
    match value.checked_add(align - 1) {
        Some(sum) => Some(sum & !(align - 1)),
        None => None,
    }
}

/// `value` rounded down to a multiple of the power of two `align`.
#[inline]
pub(crate) const fn align_down(value: usize, align: usize) -> usize {
    debug_assert!(align.is_power_of_two(), "an alignment is a power of two");
    value & !(align - 1)
}

/// Start and length of the whole pages between two addresses, if there are any.
pub(crate) fn whole_pages(start: usize, end: usize, page_size: usize) -> Option<(usize, usize)> {
    let first = align_up(start, page_size)?;
    let len = align_down(end, page_size).checked_sub(first)?;
    (len > 0).then_some((first, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_need_not_be_powers_of_two() {
        assert_eq!(round_up(0, 1000), Some(0));
        assert_eq!(round_up(1, 1000), Some(1000));
        assert_eq!(round_up(1000, 1000), Some(1000));
        assert_eq!(round_up(usize::MAX, 4096), None);
    }

    #[test]
    fn alignments_meet_from_both_sides() {
        assert_eq!(align_up(4097, 4096), Some(8192));
        assert_eq!(align_up(4096, 4096), Some(4096));
        assert_eq!(align_up(usize::MAX, 2), None);
        assert_eq!(align_down(4097, 4096), 4096);
    }
}
