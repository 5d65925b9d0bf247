// The page's own elements: a player that shows source and depth of one video on two sides of a handle, and a camera.
// A video for the player holds the source in its left half and the depth in its right half.

// Gradio replaces what it finds inside these elements, so they keep their insides in a shadow.

const BASE = `<style>
  * { box-sizing: border-box; }
  :focus-visible { outline: 3px solid #6366f1; outline-offset: 2px; }
  .tag { position: absolute; top: 0.6rem; padding: 0.1rem 0.55rem; border-radius: 999px; background: #0f172acc;
    color: #fff; font-size: 0.78rem; pointer-events: none; }
  .tag.left { left: 0.6rem; } .tag.right { right: 0.6rem; }
  button { font: inherit; }
</style>`;

// As wide as it can be without being higher than the window; never a bar beside or above the picture.
const PLAYER = `${BASE}<style>
  .player { width: min(100%, calc(68vh * var(--ratio))); margin: 0 auto; border-radius: 10px; overflow: hidden;
    background: #0f172a; }
  .player:fullscreen { display: flex; flex-direction: column; width: 100%; height: 100%; border-radius: 0; }
  .stage { position: relative; aspect-ratio: var(--ratio); touch-action: pan-y; cursor: ew-resize; user-select: none; }
  .player:fullscreen .stage { width: min(100vw, calc((100vh - 3.2rem) * var(--ratio))); margin: auto; }
  .stage canvas { position: absolute; inset: 0; width: 100%; height: 100%; display: block; }
  .stage video { position: absolute; width: 1px; height: 1px; opacity: 0; pointer-events: none; }
  .handle { position: absolute; top: 0; bottom: 0; width: 2.8rem; margin-left: -1.4rem; cursor: ew-resize; outline: none; }
  .handle::before { content: ''; position: absolute; left: calc(50% - 1px); top: 0; bottom: 0; width: 2px;
    background: #fff; box-shadow: 0 0 4px #0008; }
  .handle::after { content: '◂ ▸'; position: absolute; left: 50%; top: 50%; width: 2.3rem; height: 2.3rem;
    transform: translate(-50%, -50%); border-radius: 50%; background: #fff; color: #1e293b; font-size: 0.8rem;
    line-height: 2.3rem; text-align: center; box-shadow: 0 1px 6px #0009; letter-spacing: 0.05em; }
  .handle:focus-visible::after { outline: 3px solid #6366f1; outline-offset: 2px; }
  .bar { display: flex; align-items: center; gap: 0.5rem; padding: 0.3rem 0.5rem; color: #e2e8f0; }
  .bar button { display: grid; place-items: center; flex: 0 0 auto; min-width: 2.5rem; height: 2.5rem; border: none; border-radius: 8px; background: none;
    color: inherit; font-size: 1.05rem; cursor: pointer; }
  .bar button:hover { background: #334155; }
  .bar input[type=range] { flex: 1 1 auto; min-width: 4rem; accent-color: #818cf8; }
  .bar time { font-size: 0.8rem; font-variant-numeric: tabular-nums; }
</style>`;

const CAMERA = `${BASE}<style>
  .camera { display: grid; grid-template-columns: 1fr 1fr; gap: 0.6rem; }
  .camera figure { margin: 0; aspect-ratio: 4 / 3; border-radius: 10px; overflow: hidden; background: #0f172a; position: relative; }
  .camera video, .camera img { width: 100%; height: 100%; object-fit: contain; display: block; }
  .camera-bar { display: flex; flex-wrap: wrap; align-items: center; gap: 0.6rem; margin: 0.6rem 0; }
  .camera-bar button { min-height: 2.75rem; padding: 0 1.1rem; border: none; border-radius: 10px; font-weight: 600;
    background: #4f46e5; color: #fff; cursor: pointer; }
  .camera-bar button.quiet { background: #e2e8f0; color: #1e293b; }
  :host-context(.dark) .camera-bar button.quiet { background: #334155; color: #f1f5f9; }
  .camera-bar p { margin: 0; font-variant-numeric: tabular-nums; }
  @media (max-width: 640px) { .camera { grid-template-columns: 1fr; } }
</style>`;

const ICONS = Object.fromEntries(Object.entries({
  play: '<path d="M8 5v14l11-7z"/>',
  pause: '<path d="M6 5h4v14H6zM14 5h4v14h-4z"/>',
  muted: '<path d="M4 9v6h4l5 5V4L8 9zM16 9.4 17.4 8 20 10.6 22.6 8 24 9.4 21.4 12 24 14.6 22.6 16 20 13.4 17.4 16 16 14.6 18.6 12z"/>',
  sound: '<path d="M4 9v6h4l5 5V4L8 9zM16 8v8a4.5 4.5 0 0 0 0-8z"/>',
  full: '<path d="M4 4h6v2H6v4H4zM14 4h6v6h-2V6h-4zM4 14h2v4h4v2H4zM18 14h2v6h-6v-2h4z"/>',
}).map(([name, path]) => [name, `<svg viewBox="0 0 26 24" width="20" height="20" fill="currentColor">${path}</svg>`]));

class DepthPlayer extends HTMLElement {
  static observedAttributes = ['src', 'width', 'height', 'poster'];

  attributeChangedCallback() {
    if (!this.shadowRoot) return;
    clearTimeout(this.changed);
    this.changed = setTimeout(() => {  // all of them have changed then
      this.show();
      // On a phone the result is below what the visitor looks at.
      if (window.innerWidth <= 640) this.scrollIntoView({behavior: 'smooth', block: 'center'});
    });
  }

  connectedCallback() {
    if (!this.shadowRoot) this.attachShadow({mode: 'open'});
    this.show();
  }

  show() {
    const [width, height] = ['width', 'height'].map((name) => Number(this.getAttribute(name)));
    this.shadowRoot.innerHTML = `${PLAYER}
      <div class="player" style="--ratio: ${width / height}">
        <div class="stage">
          <video muted loop playsinline autoplay preload="auto" tabindex="-1" aria-label="Source and depth"></video>
          <canvas width="${width}" height="${height}"></canvas>
          <span class="tag left">Video</span><span class="tag right">Depth</span>
          <div class="handle" role="slider" tabindex="0" aria-label="Edge between video and depth"
               aria-valuemin="0" aria-valuemax="100"></div>
        </div>
        <div class="bar">
          <button type="button" class="play" aria-label="Pause">${ICONS.pause}</button>
          <input type="range" min="0" max="1" step="0.0001" value="0" aria-label="Place in the video">
          <time>0:00</time>
          <button type="button" class="sound" aria-label="Sound on">${ICONS.muted}</button>
          <button type="button" class="full" aria-label="Full screen">${ICONS.full}</button>
        </div>
      </div>`;
    const find = (selector) => this.shadowRoot.querySelector(selector);
    [this.player, this.stage, this.video] = ['.player', '.stage', 'video'].map(find);
    [this.canvas, this.handle, this.range] = ['canvas', '.handle', 'input'].map(find);
    this.picture = null;
    this.move(0.5);
    if (this.getAttribute('poster')) {
      const still = new Image();
      still.onload = () => { if (!this.picture) this.draw(still); };
      still.src = this.getAttribute('poster');
    }
    this.video.muted = true;
    this.video.src = this.getAttribute('src');
    const {video} = this;
    const next = () => {
      if (!this.isConnected || this.video !== video) return;
      if (this.video.readyState >= 2) this.draw(this.video);
      'requestVideoFrameCallback' in this.video
        ? this.video.requestVideoFrameCallback(next) : requestAnimationFrame(next);
    };
    next();
    this.video.addEventListener('loadeddata', () => this.draw(this.video));
    this.video.addEventListener('seeked', () => this.draw(this.video));
    this.video.addEventListener('timeupdate', () => {
      const seconds = Math.floor(this.video.currentTime);
      this.range.value = this.share;
      find('time').textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
    });
    const play = find('.play');
    const shown = () => {
      play.innerHTML = this.video.paused ? ICONS.play : ICONS.pause;
      play.setAttribute('aria-label', this.video.paused ? 'Play' : 'Pause');
    };
    this.video.addEventListener('play', shown);
    this.video.addEventListener('pause', shown);
    play.addEventListener('click', () => (this.video.paused ? this.video.play() : this.video.pause()));
    this.range.addEventListener('input', () => { this.video.currentTime = this.range.value * this.video.duration; });
    const sound = find('.sound');
    sound.addEventListener('click', () => {
      this.video.muted = !this.video.muted;
      sound.innerHTML = this.video.muted ? ICONS.muted : ICONS.sound;
      sound.setAttribute('aria-label', this.video.muted ? 'Sound on' : 'Sound off');
    });
    const full = find('.full');
    full.hidden = !this.player.requestFullscreen;
    full.addEventListener('click', () => (
      document.fullscreenElement ? document.exitFullscreen() : this.player.requestFullscreen()));
    const follow = (event) => {
      const box = this.stage.getBoundingClientRect();
      this.move((event.clientX - box.left) / box.width);
    };
    this.stage.addEventListener('pointerdown', (event) => {
      this.stage.setPointerCapture(event.pointerId);
      follow(event);
    });
    this.stage.addEventListener('pointermove', (event) => { if (event.buttons) follow(event); });
    this.handle.addEventListener('keydown', (event) => {
      const step = {ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1}[event.key];
      if (!step) return;
      event.preventDefault();
      this.move(this.edge + step);
    });
  }

  // Where the video is, 0 to 1.
  get share() { return this.video.duration ? this.video.currentTime / this.video.duration : 0; }

  move(edge) {
    this.edge = Math.min(Math.max(edge, 0), 1);
    this.handle.style.left = `${100 * this.edge}%`;
    this.handle.setAttribute('aria-valuenow', Math.round(100 * this.edge));
    if (this.picture) this.draw(this.picture);
  }

  // Both halves of one picture, so that they are never apart.
  draw(picture) {
    const {width, height} = this.canvas;
    const half = (picture.videoWidth || picture.naturalWidth) / 2;
    const rows = picture.videoHeight || picture.naturalHeight;
    if (!half || !rows) return;
    this.picture = picture;
    const context = this.canvas.getContext('2d');
    const edge = Math.round(this.edge * width);
    if (edge > 0) context.drawImage(picture, 0, 0, half * edge / width, rows, 0, 0, edge, height);
    if (edge < width) {
      const left = half + half * edge / width;
      context.drawImage(picture, left, 0, 2 * half - left, rows, edge, 0, width - edge, height);
    }
  }
}

class DepthCamera extends HTMLElement {
  connectedCallback() {
    if (this.shadowRoot) return;
    this.attachShadow({mode: 'open'}).innerHTML = `${CAMERA}
      <div class="camera-bar">
        <button type="button" class="start">Start camera</button>
        <button type="button" class="quiet turn" hidden>Other camera</button>
        <p role="status" aria-live="polite">Depth of each picture as it comes.</p>
      </div>
      <div class="camera">
        <figure><video muted playsinline aria-label="Your camera"></video><span class="tag left">Camera</span></figure>
        <figure><img alt="Depth" hidden><span class="tag left">Depth</span></figure>
      </div>`;
    const find = (selector) => this.shadowRoot.querySelector(selector);
    [this.start, this.turn] = ['.start', '.turn'].map(find);
    [this.status, this.video, this.image] = ['p', 'video', 'img'].map(find);
    this.name = [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join('');
    this.facing = 'environment';
    this.start.addEventListener('click', () => (this.stream ? this.stop('Stopped.') : this.open()));
    this.turn.addEventListener('click', () => {
      this.facing = this.facing === 'user' ? 'environment' : 'user';
      this.stop('');
      this.open();
    });
  }

  disconnectedCallback() { this.stop(''); }

  async open() {
    if (!navigator.mediaDevices) {
      this.status.textContent = 'Browsers give the camera only to pages with https, or on the same machine.';
      return;
    }
    try {
      const wanted = {width: {ideal: 640}, height: {ideal: 480}, facingMode: this.facing};
      this.stream = await navigator.mediaDevices.getUserMedia({video: wanted, audio: false});
    } catch (error) {
      this.status.textContent = error.name === 'NotAllowedError'
        ? 'The browser was not allowed to use the camera.' : 'No camera was found.';
      return;
    }
    this.video.srcObject = this.stream;
    await this.video.play();
    const devices = await navigator.mediaDevices.enumerateDevices();
    this.turn.hidden = devices.filter((device) => device.kind === 'videoinput').length < 2;
    this.start.textContent = 'Stop camera';
    this.start.classList.add('quiet');
    this.status.textContent = 'Starting…';
    this.shadowRoot.querySelectorAll('figure').forEach((figure) => {
      figure.style.aspectRatio = `${this.video.videoWidth} / ${this.video.videoHeight}`;
    });
    this.run(this.stream);
  }

  stop(words) {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    this.start.textContent = 'Start camera';
    this.start.classList.remove('quiet');
    if (words) this.status.textContent = words;
  }

  // One picture after another: the next one is taken when the last one's depth is there.
  async run(stream) {
    const canvas = document.createElement('canvas');
    const times = [];
    let shown = null;
    while (this.stream === stream) {
      const factor = Math.min(640 / Math.max(this.video.videoWidth, this.video.videoHeight), 1);
      canvas.width = Math.round(this.video.videoWidth * factor);
      canvas.height = Math.round(this.video.videoHeight * factor);
      canvas.getContext('2d').drawImage(this.video, 0, 0, canvas.width, canvas.height);
      const taken = performance.now();
      const picture = await new Promise((done) => { canvas.toBlob(done, 'image/jpeg', 0.85); });
      const query = new URLSearchParams({page: this.name, ...this.settings});
      try {
        const answer = await fetch(`camera?${query}`, {method: 'POST', body: picture});
        if (this.stream !== stream) return;
        if (!answer.ok) {
          this.status.textContent = await answer.text();
          if (answer.status !== 429) { this.stop(''); return; }
          await new Promise((done) => { setTimeout(done, 2000); });
          continue;
        }
        const address = URL.createObjectURL(await answer.blob());
        this.image.src = address;
        this.image.hidden = false;
        if (shown) URL.revokeObjectURL(shown);
        shown = address;
      } catch (error) {
        this.stop('The server does not answer.');
        return;
      }
      const now = performance.now();
      times.push(now);
      while (times.length > 1 && now - times[0] > 3000) times.shift();
      const rate = times.length > 1 ? 1000 * (times.length - 1) / (now - times[0]) : 0;
      this.status.textContent = `${rate.toFixed(1)} pictures a second, each ${Math.round(now - taken)} ms old`;
    }
  }

  // As chosen on the page; before the first choice, as the page came.
  get settings() {
    const {encoder, metric, detail, colormap} = {...this.dataset, ...window.cameraSettings};
    return {encoder, metric: String(metric) === 'true' ? 1 : 0, detail, colormap};
  }
}

customElements.define('depth-player', DepthPlayer);
customElements.define('depth-camera', DepthCamera);

// A visitor's files stay while a page of theirs is open.
setInterval(() => { fetch('alive').catch(() => {}); }, 60000);

// Gradio gives no names to players and file choosers, and does not announce what a job does.
const names = {
  '#video video': 'The video that you chose',
  '#video input[type=file]': 'Choose a video file',
  '.gallery-item': 'Take the example video: a box on a table',
  '.gallery-item video': 'The example video',
  '#relief canvas': 'The frame in relief; drag to look around',
};
function mend() {
  for (const [selector, words] of Object.entries(names)) {
    document.querySelectorAll(selector).forEach((element) => {
      if (element.getAttribute('aria-label') !== words) element.setAttribute('aria-label', words);
    });
  }
  document.documentElement.lang = 'en';
  const status = document.querySelector('#status');
  if (status && status.getAttribute('aria-live') !== 'polite') {
    status.setAttribute('role', 'status');
    status.setAttribute('aria-live', 'polite');
  }
  document.querySelectorAll('button').forEach((button) => {
    if (!button.textContent.trim() && !button.getAttribute('aria-label') && button.title)
      button.setAttribute('aria-label', button.title);
  });
}
function watch() {
  mend();
  new MutationObserver(mend).observe(document.body, {childList: true, subtree: true});
}
if (document.body) watch(); else document.addEventListener('DOMContentLoaded', watch);
