//! The real program against real components: a file a command or theme.

mod shipped;
