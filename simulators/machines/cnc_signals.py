"""What the milling machine's control shows: a vendor's flat ids, in its folders, in its mixture of data types."""

from simulators.model import Signal, Type

AXES = (("x", -20, 650), ("y", -20, 520), ("z", -60, 480))

SIGNALS = (
    Signal("execution", Type.STRING, "Execution state (MTConnect)", address="Control.Execution"),
    Signal("execution_code", Type.BYTE, "Execution state as a number", address="Control.ExecutionCode"),
    Signal("mode", Type.STRING, "Controller mode (MTConnect)", address="Control.Mode"),
    Signal("program", Type.STRING, "Name of the active program", address="Program.Name"),
    Signal("block_number", Type.UINT32, "Active block of the program", address="Program.Block"),
    Signal("spindle_speed", Type.DOUBLE, "Actual spindle speed", "RPM", 0, 12_500, 1, "Spindle.Speed"),
    Signal(
        "spindle_speed_set", Type.FLOAT, "Commanded spindle speed", "RPM", 0, 12_500, 1, "Spindle.SpeedSet"
    ),
    Signal("spindle_override", Type.FLOAT, "Spindle override", "P1", 0, 150, 0, "Spindle.Override"),
    Signal(
        "spindle_load",
        Type.FLOAT,
        "Load of the spindle drive, of rated power",
        "P1",
        0,
        200,
        1,
        "Spindle.Load",
    ),
    Signal("spindle_power", Type.DOUBLE, "Power of the spindle drive", "KWT", 0, 15, 3, "Spindle.Power"),
    Signal("spindle_torque", Type.FLOAT, "Cutting torque", "NU", 0, 200, 2, "Spindle.Torque"),
    Signal(
        "spindle_temperature",
        Type.FLOAT,
        "Spindle bearing temperature",
        "CEL",
        -10,
        120,
        2,
        "Spindle.Temperature",
    ),
    Signal(
        "vibration_rms",
        Type.FLOAT,
        "Vibration velocity at the spindle, rms",
        "C16",
        0,
        50,
        3,
        "Spindle.Vibration",
    ),
    Signal("feed_rate", Type.DOUBLE, "Actual path feed", "H81", 0, 20_000, 1, "Feed.Rate"),
    Signal("feed_override", Type.FLOAT, "Feed override", "P1", 0, 150, 0, "Feed.Override"),
    *(
        Signal(
            f"{n}_position",
            Type.DOUBLE,
            f"Position {n.upper()}",
            "MMT",
            low,
            high,
            3,
            f"Axes.{n.upper()}.Position",
        )
        for n, low, high in AXES
    ),
    Signal("a_position", Type.DOUBLE, "Position A", "DD", -120, 120, 3, "Axes.A.Position"),
    Signal("c_position", Type.DOUBLE, "Position C", "DD", -360, 360, 3, "Axes.C.Position"),
    *(
        Signal(
            f"{n}_load", Type.FLOAT, f"Load of drive {n.upper()}", "P1", 0, 200, 1, f"Axes.{n.upper()}.Load"
        )
        for n, _, _ in AXES
    ),
    *(
        Signal(
            f"{n}_temperature",
            Type.FLOAT,
            f"Motor temperature {n.upper()}",
            "CEL",
            -10,
            120,
            2,
            f"Axes.{n.upper()}.Temperature",
        )
        for n, _, _ in AXES
    ),
    Signal("tool_number", Type.INT32, "Tool in the spindle", address="Tool.Number"),
    Signal("tool_life_remaining", Type.FLOAT, "Remaining tool life", "P1", 0, 100, 2, "Tool.LifeRemaining"),
    Signal("tool_wear", Type.DOUBLE, "Flank wear VB", "MMT", 0, 2, 5, "Tool.Wear"),
    Signal("coolant_on", Type.BOOLEAN, "Coolant is flowing", address="Coolant.On"),
    Signal("coolant_pressure", Type.FLOAT, "Coolant pressure", "BAR", 0, 40, 2, "Coolant.Pressure"),
    Signal("coolant_level", Type.FLOAT, "Coolant level", "P1", 0, 100, 2, "Coolant.Level"),
    Signal(
        "coolant_temperature", Type.FLOAT, "Coolant temperature", "CEL", -10, 80, 2, "Coolant.Temperature"
    ),
    Signal("hydraulic_pressure", Type.FLOAT, "Hydraulic pressure", "BAR", 0, 120, 1, "Hydraulics.Pressure"),
    Signal("part_counter", Type.UINT32, "Parts made", "H87", address="Production.Parts"),
    Signal("good_parts", Type.UINT32, "Parts within tolerance", "H87", address="Production.Good"),
    Signal("bad_parts", Type.UINT32, "Parts out of tolerance", "H87", address="Production.Bad"),
    Signal(
        "dimension_error",
        Type.FLOAT,
        "Deviation of the last part",
        "4H",
        -200,
        200,
        1,
        "Production.Deviation",
    ),
    Signal(
        "cutting_time", Type.INT64, "Time in cut since switched on", "C26", address="Production.CuttingTime"
    ),
    Signal("energy", Type.INT64, "Energy since switched on, in W·h", address="Machine.Energy"),
    Signal(
        "ambient_temperature",
        Type.FLOAT,
        "Ambient temperature",
        "CEL",
        -20,
        60,
        1,
        "Machine.AmbientTemperature",
    ),
    Signal("door_closed", Type.BOOLEAN, "The door is closed", address="Machine.DoorClosed"),
    Signal("alarm_number", Type.INT32, "Active alarm, 0 for none", address="Alarm.Number"),
    Signal("alarm_text", Type.STRING, "Active alarm in words", address="Alarm.Text"),
    Signal("job_order", Type.STRING, "Job order, set by who plans", address="Job.Order"),
    Signal("job_part", Type.STRING, "Programme of the job; empty: the control's choice", address="Job.Part"),
    Signal("job_quantity", Type.UINT32, "Parts of the job; 0: any number", "H87", address="Job.Quantity"),
)
