//! Runpacks as regression fixtures: graders, candidates, JUnit.
