// From a film's bytes to what the page shows of it. Runs in the browser and in Node.

import { setFetchCodec } from "./codecs.js";
import { readFilm } from "./film.js";
import { FilmError } from "./film_error.js";
import { setJpegModule } from "./jpeg.js";
import { doubt } from "./meaning.js";
import { coversFilm, Network } from "./network.js";
import { resize, resizeShort } from "./resample.js";

const SHOWN_SIDE = 1024; // of a picture on the page at most, pixels

export class Predictor {
  /**
   * @param files the bytes of `settings.files`, by the same names: Uint8Arrays.
   * @param fetchFile gives the bytes of a {path, size} of `settings.codecs`, a promise.
   */
  static async load(settings, { model, runtime, jpeg }, threads, fetchFile) {
    setFetchCodec((name) => fetchFile(settings.codecs[name]));
    await setJpegModule(await WebAssembly.compile(jpeg));
    const network = await Network.load(model, runtime, settings.crop_size, threads);
    return new Predictor(settings, network);
  }

  constructor(settings, network) {
    this.settings = settings;
    this.network = network;
  }

  /**
   * @param bytes of a PNG, JPEG or DICOM file, Uint8Array.
   * @returns what `Network.predict` does, with {film: {width, height} as it was resized,
   *   picture: {width, height, grey}, hasMaps, doubt: {key, values} of words.js or null}.
   */
  async predict(bytes) {
    const whole = await readFilm(bytes, this.settings.window);
    const { resize: side, crop_size: size, film_check: check } = this.settings;
    const film = resizeShort(whole, side);
    let found;
    try {
      found = await this.network.predict(film);
    } catch (error) {
      throw new FilmError("network", { error: String(error) });
    }
    const { grey } = resize(film, check.side, check.side, "box");
    return {
      ...found,
      film: { width: film.width, height: film.height },
      picture: fitted(whole, SHOWN_SIDE),
      hasMaps: this.settings.has_maps && coversFilm(film.width, film.height, size),
      doubt: doubt(grey, whole, check),
    };
  }
}

function fitted(picture, side) {
  const { width, height } = picture;
  const share = side / Math.max(width, height);
  if (share >= 1) return picture;
  const [shownWidth, shownHeight] = [width, height].map((n) => Math.max(1, Math.round(n * share)));
  return resize(picture, shownWidth, shownHeight);
}
