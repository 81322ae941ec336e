// Moon phases, computed: a row for each new, half and full moon of the window.
import kotlin.math.PI
import kotlin.math.floor
import kotlin.math.sin

/** Days from one new moon to the next, on average; the mean one of January 2000, in milliseconds since the epoch. */
private const val SYNODIC_DAYS = 29.530588861
private const val DAY_MS = 86_400_000.0
private const val FIRST_NEW_MOON_MS = 947_168_374_000.0

enum class Phase { NEW, FIRST_QUARTER, FULL, LAST_QUARTER }

data class Moon(val timeMs: Double, val phase: Phase)

/** Meeus, Astronomical Algorithms, chapter 49, with the largest terms: right within half an hour. */
private fun moon(quarter: Int): Moon {
    val k = quarter / 4.0
    val t = k / 1236.85
    fun radians(degrees: Double) = degrees * PI / 180
    val sun = radians(2.5534 + 29.1053567 * k)
    val anomaly = radians(201.5643 + 385.81693528 * k + 0.0107582 * t * t)
    val latitude = radians(160.7108 + 390.67050284 * k)
    val phase = Phase.entries[quarter.mod(4)]
    val days = when (phase) {
        Phase.NEW, Phase.FULL ->
            -0.4067 * sin(anomaly) + 0.1727 * sin(sun) + 0.0161 * sin(2 * anomaly) + 0.0104 * sin(2 * latitude) +
                0.0074 * sin(anomaly - sun) - 0.0051 * sin(anomaly + sun)
        else ->
            -0.62801 * sin(anomaly) + 0.17172 * sin(sun) - 0.01183 * sin(anomaly + sun) + 0.00862 * sin(2 * anomaly) +
                0.00804 * sin(2 * latitude) + 0.00454 * sin(anomaly - sun) +
                if (phase == Phase.FIRST_QUARTER) 0.00306 else -0.00306
    }
    return Moon(FIRST_NEW_MOON_MS + (SYNODIC_DAYS * k + days) * DAY_MS, phase)
}

fun moonsBetween(beginMs: Double, endMs: Double): Sequence<Moon> {
    val first = floor((beginMs - FIRST_NEW_MOON_MS) / DAY_MS / SYNODIC_DAYS * 4).toInt() - 1
    return generateSequence(first) { it + 1 }
        .map(::moon)
        .dropWhile { it.timeMs < beginMs }
        .takeWhile { it.timeMs < endMs }
}

@OptIn(ExperimentalJsExport::class)
@JsExport
fun fetch(call: dynamic): dynamic {
    val rows = moonsBetween(call.window.beginMs as Double, call.window.endMs as Double).map { (timeMs, phase) ->
        val row: dynamic = js("({})")
        row.time = kotlin.js.Date(timeMs)
        row.phase = phase.name.lowercase()
        row
    }
    return rows.toList().toTypedArray()
}
