//! What both ends of BuildKit's protocol have in common: HTTP/2 over an upgraded connection, the
//! content service of sessions, progress and failures in their JSON form. Knows neither who asks
//! for a build nor who carries it out.

pub mod content;
mod excerpt;
pub mod line;
mod progress;

pub use excerpt::excerpt;
pub use progress::status;
