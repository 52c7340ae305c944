//! A heap draws its [`marks`](super::marks): for slots that a refill brings, and for those that wait.

use super::class::Class;
use super::thread_heap::ThreadHeap;

impl ThreadHeap {
    /// Marks some of the newest `count` slots of a class, which have just come by and have no marks.
    #[inline]
    pub(super) fn mark_newest(&self, class: Class, count: usize) {
        let stack = self.stack(class);
        self.marks.draw(class.shape().slot_bytes, count, |index| stack.mark_one(index));
        stack.hide();
    }

    /// Draws all slots anew that wait in its magazines. Called at moments that do not depend on marks.
    pub(super) fn draw_waiting_anew(&self) {
        if self.marks.is_on() {
            Class::all().for_each(|class| self.draw_anew(class));
        }
    }

    pub(super) fn draw_anew(&self, class: Class) {
        let stack = self.stack(class);
        stack.unmark_all();
        self.mark_newest(class, stack.len());
    }
}
