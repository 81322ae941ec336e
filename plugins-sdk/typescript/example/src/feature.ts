/** One event of the catalogue, and the row that is made of it. */

export interface Feature {
  readonly id: string;
  readonly properties: {
    /** Milliseconds since the epoch. */
    readonly time: number;
    readonly mag: number | null;
    readonly place: string | null;
    readonly felt: number | null;
    readonly tsunami: number;
  };
  readonly geometry: { readonly coordinates: readonly [longitude: number, latitude: number, depthKm: number] };
}

export function rowOf({ id, properties, geometry }: Feature) {
  const [longitude, latitude, depthKm] = geometry.coordinates;
  return {
    time: new Date(properties.time),
    id,
    magnitude: properties.mag,
    place: properties.place,
    longitude,
    latitude,
    depth_km: depthKm,
    felt: properties.felt ?? 0,
    tsunami: properties.tsunami === 1,
  };
}
