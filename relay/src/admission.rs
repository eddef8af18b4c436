//! Who may create mailboxes and depots and store blobs: holders of admission tokens.
//!
//! The relay keeps `SHA-256(label ‖ token)`, a class and the counters of a day. What a token made
//! is not recorded, so a mailbox can't be traced to a token.

use std::path::Path;

use undertone_wire::{AdmissionToken, JoinAddress, RelayAddress};

use crate::clock::Clock;
use crate::store::audit::Action;
use crate::store::sqlite::SqliteStore;
use crate::store::{
    Answer, Command, Outcome, Store as _, StoreFailure, TokenClass, TokenId, TokenRecord, random,
};

/// The token of a relay that asks for none: a relay with `admission.open` accepts it, every other one
/// refuses it, whatever its store holds. What everybody makes with it together has the quota of
/// [`TokenClass::Open`].
pub const OPEN_TOKEN: [u8; 32] = [0; 32];

/// A fresh token.
pub(crate) fn new_token() -> Result<AdmissionToken, StoreFailure> {
    Ok(AdmissionToken::from_bytes(random()?))
}

/// Manages tokens from outside a running relay: both may use the store at the same time, since
/// tokens are in a database of their own that every request reads anew.
pub struct Tokens {
    store: SqliteStore,
    clock: Box<dyn Clock>,
}

impl Tokens {
    /// Opens the tokens of the relay in a directory.
    ///
    /// # Errors
    /// [`StoreFailure`].
    pub fn open(store: &Path, clock: Box<dyn Clock>) -> Result<Self, StoreFailure> {
        Ok(Self { store: SqliteStore::open_records_only(store)?, clock })
    }

    fn run(&mut self, command: Command) -> Result<Answer, StoreFailure> {
        let mut answers = self.store.commit(self.clock.today(), &[command])?;
        answers.pop().ok_or(StoreFailure::Damaged("a command without an answer"))
    }

    /// Adds to the operator's log.
    fn note(&mut self, action: Action) -> Result<(), StoreFailure> {
        self.run(Command::Audit(action)).map(|_| ())
    }

    /// Makes a token for the relay with this address; the join address is the only place where it is
    /// ever shown.
    ///
    /// # Errors
    /// [`StoreFailure`].
    pub fn add(
        &mut self,
        class: TokenClass,
        relay: &RelayAddress,
    ) -> Result<(TokenId, JoinAddress), StoreFailure> {
        let token = new_token()?;
        match self.run(Command::AddToken(token.verifier(), class))? {
            Ok(Outcome::Token(id)) => {
                self.note(Action::TokenAdded(id, class))?;
                Ok((id, JoinAddress::new(relay.clone(), token)))
            }
            _ => Err(StoreFailure::Damaged("the table of tokens")),
        }
    }

    /// All tokens.
    ///
    /// # Errors
    /// [`StoreFailure`].
    pub fn list(&mut self) -> Result<Vec<TokenRecord>, StoreFailure> {
        self.note(Action::TokensListed)?;
        match self.run(Command::Tokens)? {
            Ok(Outcome::Tokens(tokens)) => Ok(tokens),
            _ => Err(StoreFailure::Damaged("the table of tokens")),
        }
    }

    /// No longer admits who has that token; what was made with it stays. `false` if there is none.
    ///
    /// # Errors
    /// [`StoreFailure`].
    pub fn revoke(&mut self, id: TokenId) -> Result<bool, StoreFailure> {
        // Also an attempt at a token that is not there.
        self.note(Action::TokenRevoked(id))?;
        Ok(self.run(Command::RevokeToken(id))?.is_ok())
    }
}
