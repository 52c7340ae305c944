//! A naive tree-walking interpreter: environments are reference-counted lists, every number is boxed.

use std::rc::Rc;

use super::Done;
use crate::block::broken;
use crate::measure::Meter;

/// An expression of the little language.
enum Expr {
    Number(i64),
    /// A variable, by its distance from the innermost binding.
    Variable(usize),
    Add(Box<Self>, Box<Self>),
    Subtract(Box<Self>, Box<Self>),
    Less(Box<Self>, Box<Self>),
    If(Box<Self>, Box<Self>, Box<Self>),
    /// A function of one argument.
    Lambda(Rc<Self>),
    Call(Box<Self>, Box<Self>),
}

/// A value; numbers are boxed, as naive interpreters do.
#[derive(Clone)]
enum Value {
    Number(Box<i64>),
    Closure(Rc<Expr>, Environment),
}

type Environment = Option<Rc<Binding>>;

struct Binding {
    value: Value,
    outer: Environment,
}

/// Evaluates and counts steps.
struct Machine {
    steps: u64,
}

impl Machine {
    fn eval(&mut self, expr: &Expr, environment: &Environment) -> Value {
        self.steps += 1;
        match expr {
            Expr::Number(number) => Value::Number(Box::new(*number)),
            Expr::Variable(distance) => lookup(environment, *distance),
            Expr::Add(left, right) => self.arithmetic(left, right, environment, i64::wrapping_add),
            Expr::Subtract(left, right) => {
                self.arithmetic(left, right, environment, i64::wrapping_sub)
            }
            Expr::Less(left, right) => {
                self.arithmetic(left, right, environment, |a, b| i64::from(a < b))
            }
            Expr::If(condition, yes, no) => {
                let chosen = if number(&self.eval(condition, environment)) == 0 { no } else { yes };
                self.eval(chosen, environment)
            }
            Expr::Lambda(body) => Value::Closure(Rc::clone(body), environment.clone()),
            Expr::Call(function, argument) => {
                let function = self.eval(function, environment);
                let value = self.eval(argument, environment);
                let Value::Closure(body, outer) = function else {
                    broken(format_args!("the interpreter called a number"));
                };
                self.eval(&body, &Some(Rc::new(Binding { value, outer })))
            }
        }
    }

    fn arithmetic(
        &mut self,
        left: &Expr,
        right: &Expr,
        at: &Environment,
        apply: fn(i64, i64) -> i64,
    ) -> Value {
        let left = self.eval(left, at);
        let right = self.eval(right, at);
        Value::Number(Box::new(apply(number(&left), number(&right))))
    }
}

fn number(value: &Value) -> i64 {
    match value {
        Value::Number(number) => **number,
        Value::Closure(..) => broken(format_args!("the interpreter added a function")),
    }
}

fn lookup(environment: &Environment, distance: usize) -> Value {
    let mut place = environment;
    for _ in 0..distance {
        place = place.as_ref().map_or(&None, |binding| &binding.outer);
    }
    match place {
        Some(binding) => binding.value.clone(),
        None => broken(format_args!("the interpreter lost a variable")),
    }
}

/// `fib` through self-application: `f = \self. \n. if n < 2 then n else self self (n-1) + self self (n-2)`.
fn fibonacci(of: i64) -> Expr {
    let variable = |distance| Box::new(Expr::Variable(distance));
    let literal = |value| Box::new(Expr::Number(value));
    let recurse = |less| {
        let itself = Expr::Call(variable(1), variable(1));
        Box::new(Expr::Call(Box::new(itself), Box::new(Expr::Subtract(variable(0), literal(less)))))
    };
    let body = Expr::If(
        Box::new(Expr::Less(variable(0), literal(2))),
        variable(0),
        Box::new(Expr::Add(recurse(1), recurse(2))),
    );
    let function = || Box::new(Expr::Lambda(Rc::new(Expr::Lambda(Rc::new(clone_of(&body))))));
    Expr::Call(Box::new(Expr::Call(function(), function())), literal(of))
}

fn clone_of(expr: &Expr) -> Expr {
    let boxed = |expr: &Expr| Box::new(clone_of(expr));
    match expr {
        Expr::Number(number) => Expr::Number(*number),
        Expr::Variable(distance) => Expr::Variable(*distance),
        Expr::Add(left, right) => Expr::Add(boxed(left), boxed(right)),
        Expr::Subtract(left, right) => Expr::Subtract(boxed(left), boxed(right)),
        Expr::Less(left, right) => Expr::Less(boxed(left), boxed(right)),
        Expr::If(condition, yes, no) => Expr::If(boxed(condition), boxed(yes), boxed(no)),
        Expr::Lambda(body) => Expr::Lambda(Rc::clone(body)),
        Expr::Call(function, argument) => Expr::Call(boxed(function), boxed(argument)),
    }
}

/// `real-ast`: one operation is one step of the interpreter.
pub(super) fn ast(scale: u64, meter: &mut Meter) -> Done {
    // Each step down divides the work by the golden ratio.
    let of = if scale >= 100 { 10 } else { 28 - i64::from(scale > 1) * 3 };
    let mut machine = Machine { steps: 0 };
    let result = meter.time(|| number(&machine.eval(&fibonacci(of), &None)));
    Done {
        operations: machine.steps,
        checksum: machine.steps ^ result.unsigned_abs().rotate_left(32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_counts_rabbits() {
        let mut machine = Machine { steps: 0 };
        assert_eq!(number(&machine.eval(&fibonacci(20), &None)), 6_765);
    }
}
