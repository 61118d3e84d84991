'use strict';
// Shows the rows that text, verdict, class and process ask for. Without it, all rows are there to be read.
(function () {
  var form = document.getElementById('filter');
  if (!form) { return; }
  var rows = Array.prototype.slice.call(document.querySelectorAll('#rows > tbody > tr'));
  var texts = rows.map(function (row) { return row.textContent.toLowerCase(); });
  var count = document.getElementById('count');
  var none = document.getElementById('none');
  function value(name) { return form.elements[name] ? form.elements[name].value : ''; }
  function shows(row, text, want) {
    var data = row.dataset;
    return want.words.every(function (word) { return text.indexOf(word) >= 0; }) &&
      (!want.verdict || data.verdict === want.verdict || data.enforced === want.verdict) &&
      (!want.cls || data.cls === want.cls) &&
      (!want.proc || data.procs === '*' || (' ' + data.procs + ' ').indexOf(' ' + want.proc + ' ') >= 0);
  }
  function asked() {
    return {
      words: value('text').toLowerCase().split(/\s+/).filter(Boolean),
      verdict: value('verdict'), cls: value('cls'), proc: value('proc')
    };
  }
  function show(want) {
    var shown = 0;
    rows.forEach(function (row, at) {
      var on = shows(row, texts[at], want);
      row.hidden = !on;
      shown += on ? 1 : 0;
    });
    count.textContent = shown + ' of ' + rows.length + ' rows shown';
    none.hidden = shown > 0;
  }
  function apply() { show(asked()); }
  form.addEventListener('input', apply);
  form.addEventListener('change', apply);
  form.addEventListener('submit', function (event) { event.preventDefault(); });
  // The fields are emptied after this event.
  form.addEventListener('reset', function () { show({ words: [], verdict: '', cls: '', proc: '' }); });
  document.addEventListener('click', function (event) {
    var link = event.target.closest ? event.target.closest('a[data-pick]') : null;
    if (!link) { return; }
    form.elements[link.dataset.pick].value = link.dataset.value;
    apply();
  });
  form.hidden = false;
  apply();
}());
