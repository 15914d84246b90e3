//! The arguments of a command that are described to clap only once that command is the chosen
//! one: with a dozen and a half commands, describing all of them takes longer than `img info`.

use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

/// The arguments `T` of one command among others.
#[derive(Debug)]
pub(super) struct Chosen<T>(pub(super) T);

impl<T: Args> Args for Chosen<T> {
    fn augment_args(command: Command) -> Command {
        command.defer(T::augment_args)
    }

    fn augment_args_for_update(command: Command) -> Command {
        command.defer(T::augment_args_for_update)
    }
}

impl<T: FromArgMatches> FromArgMatches for Chosen<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}
