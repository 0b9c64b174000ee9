//! What the configuration says of rates.

use clap::Args;
use secrecy::SecretString;

/// Where the wei of a sale's amount come from. Without currencies and fixed rates sales have no rate.
#[derive(Debug, Clone, Default, Args)]
pub struct RateArgs {
    /// Currencies whose sales are converted to wei by a live rate, separated by commas, e.g. INR,USD
    #[arg(long, env = "COUNTERFOIL_RATE_CURRENCIES", value_delimiter = ',')]
    pub rate_currencies: Vec<String>,
    /// The feed of live rates: an address below which CoinGecko's simple/price is
    #[arg(
        long,
        env = "COUNTERFOIL_RATE_URL",
        default_value = "https://api.coingecko.com/api/v3"
    )]
    pub rate_url: String,
    /// CoinGecko's key of your account, where you have one
    #[arg(long, env = "COUNTERFOIL_RATE_KEY", hide_env_values = true)]
    pub rate_key: Option<SecretString>,
    /// Fixed prices of 1 ETH for when there is no live rate, separated by commas, e.g. INR=250000.00
    #[arg(long, env = "COUNTERFOIL_RATE_EMERGENCY", value_delimiter = ',')]
    pub rate_emergency: Vec<String>,
}
