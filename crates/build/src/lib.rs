//! Dockerfile to graph to image. Runs its steps through a trait that the engine implements; never
//! knows how a container is started.
