"""How the page looks, and what it tells screen readers: colours, style and names that Gradio leaves out."""

from __future__ import annotations

from typing import Any

import gradio as gr

# Helper text: at least 4.5:1 on every background that it has, see test_page_looks.py.
QUIET_LIGHT, QUIET_DARK = "#475569", "#cbd5e1"
STYLE = """
.gradio-container { --color-accent: #4f46e5; width: 100% !important; max-width: 1280px !important;
  margin: 0 auto !important; padding: 0.5rem 0 1rem !important; }
.dark .gradio-container, .dark.gradio-container { --color-accent: #a5b4fc; }
#title h1 { margin: 0; font-weight: 650; letter-spacing: -0.015em; font-size: 1.65rem; }
#title p { margin: 0.15rem 0 0; color: var(--body-text-color-subdued); font-size: 1rem; }
#demo-model { --text: #713f12; border: 1px solid #f59e0b; border-left-width: 4px; border-radius: 8px;
  background: #fffbeb; padding: 0.55rem 0.9rem; }
.dark #demo-model { --text: #fde68a; background: #2a1f06; border-color: #b45309; }
#demo-model * { color: var(--text) !important; }
#demo-model code { background: none !important; border: none !important; padding: 0 !important; font-weight: 600; }
#demo-model p { margin: 0; }
#limits, #limits p, #model p { font-size: 0.84rem; line-height: 1.45; margin: 0;
  color: var(--body-text-color-subdued); }
#run { font-size: 1.05rem; font-weight: 600; }
#status { min-height: 3.1rem; }
#status p { margin: 0.2rem 0; font-variant-numeric: tabular-nums; }
#status .wrap { background: var(--body-background-fill); opacity: 1; }
#status .pending { opacity: 1; }
#status:has(.progress-level) .pending { visibility: hidden; }
#status .progress-text { display: none; }
#status .progress-level { width: 100%; }
#status .progress-level-inner { color: var(--body-text-color); font-family: var(--font); font-size: 0.95rem;
  margin: 0 0 0.35rem; text-align: left; }
#status .progress-bar-wrap { width: 100%; height: 0.6rem; border-radius: 999px; overflow: hidden; }
#source video, #depth video { background: #0f172a; border-radius: 6px; }
#live-depth img.live { width: 100%; border-radius: 8px; display: block; }
#live-depth p.rate { margin-top: 0.5rem; font-variant-numeric: tabular-nums; }
/* It would fetch a program from elsewhere, which the page's policy forbids. */
#video button[title^="Trim"] { display: none; }
#video:has(.top-panel) .source-selection { display: none; }
#video .or, #video .wrap { color: var(--body-text-color-subdued); }
button:focus-visible, input:focus-visible, [tabindex]:focus-visible { outline: 3px solid #6366f1; outline-offset: 2px; }
footer { display: none !important; }
@media (max-width: 640px) {
  .gradio-container { padding: 0 !important; }
  .gradio-container main { padding: 0.75rem !important; }
  #title h1 { font-size: 1.35rem; }
  #title p { font-size: 0.92rem; }
  #run, #cancel { min-height: 3rem; }
}
@media (prefers-reduced-motion: reduce) { * { animation: none !important; transition: none !important; } }
"""
# Gradio gives no names to players and file choosers, and does not announce what a job does.
NAMES = """
() => {
  const name = (selector, words) => document.querySelectorAll(selector).forEach((element) => {
    if (element.getAttribute('aria-label') !== words) element.setAttribute('aria-label', words);
  });
  const mend = () => {
    name('#video video', 'The video that you chose');
    name('#video input[type=file]', 'Choose a video file');
    name('#source video', 'The source video');
    name('#depth video', 'The depth video');
    name('#camera video', 'Your camera');
    name('.gallery-item', 'Take the example video: a box on a table');
    name('.gallery-item video', 'The example video');
    name('#cloud canvas', 'Point cloud; drag to turn it');
    document.documentElement.lang = 'en';
    const status = document.querySelector('#status');
    if (status && status.getAttribute('role') !== 'status') {
      status.setAttribute('role', 'status');
      status.setAttribute('aria-live', 'polite');
    }
    document.querySelectorAll('button').forEach((button) => {
      if (!button.textContent.trim() && !button.getAttribute('aria-label') && button.title)
        button.setAttribute('aria-label', button.title);
    });
  };
  mend();
  new MutationObserver(mend).observe(document.body, {childList: true, subtree: true});
}
"""


# Where columns lie below each other, the result is out of sight when it is there.
SHOW_RESULT = """
() => { if (window.innerWidth <= 640) document.querySelector('#results').scrollIntoView({behavior: 'smooth'}); }
"""


def theme() -> gr.themes.Base:
    """The system's own fonts: nothing is fetched from elsewhere. Quiet text that can be read."""
    made = gr.themes.Soft(
        primary_hue="indigo",
        neutral_hue="slate",
        font=["ui-sans-serif", "system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    quiet = {
        "body_text_color_subdued": QUIET_LIGHT,
        "block_info_text_color": QUIET_LIGHT,
        "block_label_text_color": "#3730a3",
        "block_title_text_color": "#1e293b",
        "block_title_background_fill": "transparent",
        "block_title_padding": "0",
        "block_border_width": "1px",
        "block_border_color": "#cbd5e1",
        "input_border_width": "1px",
        "input_border_color": "#7c8aa0",
        "checkbox_border_color": "#64748b",
        "input_placeholder_color": "#64748b",
        "link_text_color": "#4338ca",
    }
    dark = {
        "body_text_color_subdued_dark": QUIET_DARK,
        "block_info_text_color_dark": QUIET_DARK,
        "block_label_text_color_dark": "#e0e7ff",
        "block_title_text_color_dark": "#e2e8f0",
        "block_title_background_fill_dark": "transparent",
        "block_border_width_dark": "1px",
        "block_border_color_dark": "#334155",
        "input_border_width_dark": "1px",
        "input_border_color_dark": "#7c8aa0",
        "checkbox_border_color_dark": "#94a3b8",
        "input_placeholder_color_dark": "#a8b3c4",
        "link_text_color_dark": "#a5b4fc",
    }
    buttons = {
        "checkbox_label_background_fill_selected": "#4f46e5",
        "checkbox_label_background_fill_selected_dark": "#4f46e5",
        "button_primary_background_fill": "#4f46e5",
        "button_primary_background_fill_hover": "#4338ca",
        "button_primary_background_fill_dark": "#4f46e5",
        "button_primary_background_fill_hover_dark": "#6366f1",
        "button_cancel_background_fill": "#e2e8f0",
        "button_cancel_background_fill_hover": "#cbd5e1",
        "button_cancel_background_fill_dark": "#334155",
        "button_cancel_background_fill_hover_dark": "#475569",
        "button_cancel_text_color": "#1e293b",
        "button_cancel_text_color_dark": "#f1f5f9",
        "button_primary_text_color": "#ffffff",
        "button_primary_text_color_dark": "#ffffff",
    }
    return made.set(**quiet, **dark, **buttons)


def mount_options() -> dict[str, Any]:
    """How the page looks, and that it shows nothing but itself."""
    return {
        "theme": theme(),
        "css": STYLE,
        "js": NAMES,
        "footer_links": [],
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "show_error": False,
        "pwa": False,
    }
