//! What a key or a session is narrowed to: a set of actions. Its role bounds it too, so scopes take away and
//! never add.

use super::auth::{Action, Role};

/// A set of actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scopes(u32);

impl Scopes {
    /// Every action: nothing is taken away.
    pub const ALL: Self = Self(u32::MAX);

    /// The actions with these names; names that there are not, add nothing.
    pub fn of(names: &[impl AsRef<str>]) -> Self {
        let has = |action: &Action| names.iter().any(|name| name.as_ref() == action.name());
        Self(Action::ALL.into_iter().filter(has).map(bit).sum())
    }

    /// What stands in the database: names, or nothing for every action.
    pub fn stored(names: Option<&[String]>) -> Self {
        names.map_or(Self::ALL, Self::of)
    }

    /// Whether it has an action.
    pub fn have(self, action: Action) -> bool {
        self.0 & bit(action) != 0
    }

    /// The names of what a role may do within them, separated by spaces (RFC 6749, 3.3).
    pub fn within(self, role: Role) -> String {
        let may = |action: &Action| self.have(*action) && role.may(*action);
        let names: Vec<_> = Action::ALL
            .into_iter()
            .filter(may)
            .map(Action::name)
            .collect();
        names.join(" ")
    }
}

/// Whether there is an action with this name.
pub fn is_known(name: &str) -> bool {
    Action::ALL.iter().any(|action| action.name() == name)
}

fn bit(action: Action) -> u32 {
    1 << action as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_take_away_and_never_add() {
        let narrow = Scopes::of(&["sales:record", "keys:manage", "unheard:of"]);
        assert_eq!(narrow.within(Role::Admin), "sales:record keys:manage");
        assert_eq!(narrow.within(Role::Pos), "sales:record");
        assert_eq!(narrow.within(Role::Customer), "");
        assert!(Action::ALL.iter().all(|&action| Scopes::ALL.have(action)));
        let names: Vec<String> = Action::ALL.map(|action| action.name().to_owned()).into();
        assert!(
            Action::ALL
                .iter()
                .all(|&action| Scopes::of(&names).have(action))
        );
        assert!(names.iter().all(|name| is_known(name)));
    }
}
